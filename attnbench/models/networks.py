"""Published networks by name: those that plugins register with timm, and every model that timm has.

Plugins name theirs as entry points of the group ``attnbench.models.networks``, each pointing at the module whose import
registers it. Imports timm only when a network is asked for.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

from attnbench.errors import PluginError, UsageError, did_you_mean
from attnbench.plugins.registry import origin
from attnbench.record import Value

if TYPE_CHECKING:
    from torch import nn

GROUP = "attnbench.networks"
BACKENDS = ("sdpa", "unfused")
"""Fused attention on for all networks, or off for all."""

_WORDS: Mapping[str, Value] = {"true": True, "false": False, "none": None}
"""As TOML and shells write them."""
_UNEXPECTED = re.compile(r"unexpected keyword argument(.*)", re.DOTALL)
"""Of Python's message and of the one that timm's own constructors raise, which names all of them in a list."""
_SEVERAL = re.compile(r"\d+(/\d+)+")
"""Whole numbers of an argument that takes one for each stage, as they are written behind a name: ``depths=2/2/6/2``."""


def plugins() -> dict[str, metadata.EntryPoint]:
    """Return the networks of installed plugins by name, without importing any."""
    return {entry.name: entry for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name)}


def register() -> list[str]:
    """Make the networks of all installed plugins known to timm and return their names, for ``timm.create_model``.

    Raises:
        PluginError: a plugin does not import.
    """
    names = list(plugins())
    for name in names:
        find(name)
    return names


def find(name: str) -> str:
    """Make a network known to timm and return where it comes from, with its version.

    Raises:
        PluginError: the plugin that has it does not import.
        UsageError: there is none of that name.
    """
    import timm  # noqa: PLC0415 - a second and more

    entry = plugins().get(name)
    if entry is not None:
        try:
            importlib.import_module(entry.module)
        except Exception as error:
            raise PluginError(f"network {name} from {origin(entry)} does not import: {error}") from error
        return origin(entry)
    if not timm.is_model(name):
        raise UsageError(f"unknown network {name!r}; {did_you_mean(name, [*plugins(), *timm.list_models()])}")
    return f"timm {timm.__version__}"


def create(name: str, *, height: int, width: int, options: Mapping[str, Value]) -> nn.Module:
    """Build a network, without weights, for an image size.

    A network bound to one size is built anew for each; one whose constructor takes none adapts by itself.

    Args:
        name: as timm knows it; see ``find``.
        height: of the images, in pixels.
        width: of the images, in pixels.
        options: ``backend``, one of BACKENDS, and arguments of the network's own.

    Raises:
        Exception: whatever the constructor raises for a size that it cannot take.
    """
    fuse(options.get("backend") != "unfused")
    given = dict(options)
    offered: dict[str, Any] = {"img_size": (height, width)}
    if "backend" in given:
        offered["backend"] = given.pop("backend")
    model: nn.Module = build(name, offered=offered, given=given)[0]
    return model


def build(name: str, *, offered: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """Build a network with what it takes of what is offered, and return it with that.

    Args:
        name: as timm knows it; see ``find``.
        offered: arguments that are left out where the constructor refuses them.
        given: arguments that it must take, whole numbers between slashes as a tuple of them; they go before those that
            are offered.

    Raises:
        Exception: whatever the constructor raises otherwise.
    """
    import timm  # noqa: PLC0415

    taken = {argument: value for argument, value in offered.items() if argument not in given}
    must: dict[str, Any] = {argument: _several(value) for argument, value in given.items()}
    while True:
        try:
            return timm.create_model(name, **taken, **must), taken
        except TypeError as error:
            refused = _refused(error).intersection(taken)
            if not refused:
                raise
            for argument in refused:
                del taken[argument]


def _several(value: object) -> object:
    """Return whole numbers that are written between slashes as a tuple, and all else as it is."""
    if not isinstance(value, str) or not _SEVERAL.fullmatch(value):
        return value
    return tuple(int(each) for each in value.split("/"))


def _refused(error: TypeError) -> set[str]:
    """Return the arguments that a constructor says it does not take, none if it says something else."""
    said = _UNEXPECTED.search(str(error))
    return set(re.findall(r"'(\w+)'", said[1])) if said else set()


def fuse(on: bool) -> None:
    """Let the networks that are built from now on use fused attention, all of them, or none."""
    from timm.layers import set_fused_attn  # noqa: PLC0415

    set_fused_attn(on, experimental=True)


def parse_options(given: Mapping[str, str]) -> dict[str, Value]:
    """Return a network's own arguments as numbers, booleans or texts, as they are written in Python.

    Several whole numbers between slashes stay a text here, which a record can hold; ``build`` makes a tuple of them.
    """
    return {name: _literal(text) for name, text in given.items()}


def check_options(name: str, options: Mapping[str, Value]) -> None:
    """See that a network takes the arguments of its own that it is given.

    Raises:
        UsageError: it does not take one.
    """
    import torch  # noqa: PLC0415

    try:
        with torch.device("meta"):
            create(name, height=224, width=224, options=options)
    except TypeError as error:
        unknown = _refused(error).intersection(options)
        if unknown:
            raise UsageError(*(f"takes no argument {argument!r}" for argument in sorted(unknown))) from None
    except Exception:  # noqa: S110 - of a size perhaps, which is its cell's affair
        pass


def _literal(text: str) -> Value:
    if text in _WORDS:
        return _WORDS[text]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, str | int | float | bool | None) else text
