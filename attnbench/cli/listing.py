"""Tables for ``attnbench list`` and ``attnbench env``, from metadata and sources only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from attnbench.errors import PluginError, UsageError
from attnbench.models import networks
from attnbench.plugins import source
from attnbench.plugins.registry import Registry, discover


def mechanisms_table(names: Sequence[str] = (), registry: Registry | None = None) -> Table:
    """Return the installed mechanisms, or those named, a row each.

    Raises:
        PluginError: a name that is not installed.
        UsageError: a network's name.
    """
    registry, published = registry or discover(), networks.plugins()
    if mistaken := [name for name in names if name in published and name not in registry.plugins]:
        raise UsageError(
            *(f"{name} is a network, for --networks; {published[name].module} says what it is" for name in mistaken)
        )
    table = Table(show_edge=False, pad_edge=False, show_lines=True)
    for heading in ("mechanism", "what it is, paper, options", "from"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "mechanism")
    for name in names or registry.plugins:
        plugin = registry.find(name)
        facts = source.read(plugin)
        options = "  ".join(f"{option}={default}" for option, default in facts.options.items())
        about = [Text(facts.summary), Text(facts.paper, style="italic"), Text(options, style="cyan")]
        table.add_row(Text(name, style="bold"), Text("\n").join(filter(None, about)), Text(plugin.distribution))
    for name in () if names else registry.conflicts:
        table.add_row(Text(name), Text(_conflict(registry, name), style="red"), "")
    return table


def networks_table() -> Table:
    """Return the networks that plugins bring, a row for each distribution, and where to find more."""
    by_origin: dict[str, list[str]] = {}
    for name, entry in networks.plugins().items():
        by_origin.setdefault(networks.origin(entry), []).append(name)
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("networks, for --networks", overflow="fold")
    table.add_column("from", overflow="fold")
    for origin, names in by_origin.items():
        table.add_row(Text(", ".join(names)), Text(origin))
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
