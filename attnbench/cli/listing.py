"""Tables for ``attnbench list`` and ``attnbench env``, from metadata and sources only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.table import Table
from rich.text import Text

from attnbench.errors import PluginError, UsageError, did_you_mean
from attnbench.models import networks
from attnbench.plugins import source
from attnbench.plugins.registry import Registry, discover, origin
from attnbench.plugins.source import Facts


def named_tables(names: Sequence[str]) -> Iterator[Table]:
    """Yield tables of the mechanisms and of the networks that are named.

    Raises:
        PluginError: one cannot be read or imported.
        UsageError: there is neither a mechanism nor a network of a name.
    """
    registry = discover()
    known = registry.plugins.keys() | registry.conflicts.keys()
    mechanisms = [name for name in names if name in known or ".py" in name or ":" in name]
    if mechanisms:
        yield mechanisms_table(mechanisms, registry)
    others = [name for name in names if name not in mechanisms]
    if others:
        yield _networks_named(others, registry)


def _networks_named(names: Sequence[str], registry: Registry) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("network, for --networks", "from"):
        table.add_column(heading, overflow="fold")
    mistakes = []
    for name in names:
        try:
            table.add_row(Text(name, style="bold"), Text(networks.find(name)))
        except UsageError as error:
            mistakes += [f"unknown mechanism {name!r}; {did_you_mean(name, registry.plugins)}", str(error)]
    if mistakes:
        raise UsageError(*mistakes)
    return table


def mechanisms_table(names: Sequence[str] = (), registry: Registry | None = None) -> Table:
    """Return the installed mechanisms, or those named with what their options admit, a row each.

    Raises:
        PluginError: a name that is not installed.
    """
    registry = registry or discover()
    table = Table(show_edge=False, pad_edge=False, show_lines=True)
    for heading in ("mechanism", "what it is, paper, options", "from"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "mechanism")
    for name in names or registry.plugins:
        plugin = registry.find(name)
        facts = source.read(plugin)
        options = "\n".join(_options(facts)) if names else "  ".join(_defaults(facts))
        summary = facts.summary if facts != Facts() else "no class of that name is written out there"
        about = [Text(summary), Text(facts.paper, style="italic"), Text(options, style="cyan")]
        table.add_row(Text(name, style="bold"), Text("\n").join(filter(None, about)), Text(plugin.distribution))
    for name in () if names else registry.conflicts:
        table.add_row(Text(name), Text(_conflict(registry, name), style="red"), "")
    return table


def _defaults(facts: Facts) -> list[str]:
    return [f"{option}={default}" for option, default in facts.options.items()]


def _options(facts: Facts) -> list[str]:
    """Return a line for each option: its default, and what else it admits."""
    return [
        f"{line}: {facts.admits[option]}" if option in facts.admits else line
        for option, line in zip(facts.options, _defaults(facts), strict=True)
    ]


def networks_table() -> Table:
    """Return the networks that plugins bring, a row for each distribution, and where to find more."""
    by_origin: dict[str, list[str]] = {}
    for name, entry in networks.plugins().items():
        by_origin.setdefault(origin(entry), []).append(name)
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("networks, for --networks", overflow="fold")
    table.add_column("from", overflow="fold")
    for distribution, names in by_origin.items():
        table.add_row(Text(", ".join(names)), Text(distribution))
    table.add_row(Text("every model of timm.list_models()"), Text("timm"))
    return table


def pairs_table(pairs: Iterable[tuple[str, str]]) -> Table:
    """Return names and values as a table without rules."""
    table = Table.grid(padding=(0, 2))
    for name, value in pairs:
        table.add_row(Text(name, style="bold"), Text(value))
    return table


def _conflict(registry: Registry, name: str) -> str:
    try:
        registry.find(name)
    except PluginError as error:
        return str(error)
    raise AssertionError(name)
