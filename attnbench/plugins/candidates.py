"""Values that an argument of a constructor may have, by its name and kind: what is tried where one is wanted."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attnbench.mechanism import Site
from attnbench.plugins.arguments import of_constructor
from attnbench.plugins.names import CONFIGS, KNOWN
from attnbench.plugins.options import alternatives

SIDE = 7
"""Tokens along a window: what most papers take, and what divides the maps of a 224 x 224 image."""
_ANY_SITE = Site(height=1, width=1, dim=1, heads=1)
_WIDTHS = ("dim", "channel", "chs", "hidden", "width", "rank")
_SIDES = ("window", "size", "kernel", "block", "grid", "patch", "ws")
_BY_THEIR_USUAL_NAMES = ("hidden_size", "num_attention_heads")


@dataclass(frozen=True, slots=True)
class Change:
    """A value for an argument of a constructor."""

    name: str
    written: str
    """The value in Python."""
    value: Callable[[Site], object]

    @property
    def of_site(self) -> bool:
        """Whether the value depends on the site."""
        return "site." in self.written

    @property
    def as_argument(self) -> str:
        """The value as an argument in Python."""
        return f"{self.name}={self.written}"

    @property
    def as_option(self) -> str:
        """The value as an option, empty if it cannot be written as one."""
        if self.written in {"True", "False"}:
            return f":{self.name}={'on' if self.written == 'True' else 'off'}"
        pair = self.value(_ANY_SITE) if self.written.startswith("(") and not self.of_site else ()
        if isinstance(pair, tuple) and len(pair) == 2 and pair[0] == pair[1]:
            return f":{self.name}={pair[0]}"
        plain = not self.of_site and self.written.strip("'").replace(".", "").isalnum()
        return f":{self.name}={self.written.strip(chr(39))}" if plain else ""


def as_they_are(values: Mapping[str, object]) -> list[Change]:
    """Return values that are the same at every site."""
    return [_constant(name, value) for name, value in values.items()]


def from_site(name: str, value: object) -> Change:
    """Return what a site fills in for an argument, by the value that it has at one."""
    meaning = KNOWN[name]
    one_side = meaning.is_size and isinstance(value, int) and "," in meaning.written
    return Change(name, "site.height" if one_side else meaning.written, lambda _: value)


def of(parameter: inspect.Parameter, hint: object, site: Site, *, layer: object) -> list[Change]:
    """Return what an argument may be, the likeliest first; nothing for those of which only their author knows.

    Args:
        parameter: the argument.
        hint: its annotation, None if there is none.
        site: where the layer is built.
        layer: what takes it.
    """
    name, default = parameter.name, parameter.default
    kinds = alternatives(hint) if hint is not None else ()
    untold = default is None or default is parameter.empty
    found: Iterator[Change] | list[Change] = []
    if name.lower() in CONFIGS and untold:
        found = _configurations(name, hint, site, layer)
    elif dataclasses.is_dataclass(default) and not isinstance(default, type):
        found = _with_sizes(name, default)
    elif isinstance(default, bool) or bool in kinds:
        found = [_constant(name, flag) for flag in (False, True)]
    elif isinstance(default, tuple):
        found = [_one_a_head(name, default[0])] if set(map(type, default)) == {int} else []
    elif any(typing.get_origin(kind) in (tuple, list) for kind in kinds):
        found = [_constant(name, (side_of_windows(site), side_of_windows(site)))]
    elif int in kinds or type(default) is int or (hint is None and untold):
        found = _numbers(name, site)
    return [each for each in found if untold or each.value(site) != default]


def _numbers(name: str, site: Site) -> list[Change]:
    widths = [
        Change(name, "site.head_dim", lambda site: site.head_dim),
        Change(name, "site.dim", lambda site: site.dim),
        Change(name, "site.head_dim // 4", lambda site: site.head_dim // 4),
    ]
    side, counts = _constant(name, side_of_windows(site)), [_constant(name, number) for number in (2, 4, 1)]
    if _is_called(name, _WIDTHS):
        return [*widths, side, *counts]
    return [side, *counts, *widths] if _is_called(name, _SIDES) else [*counts, side, *widths]


def _configurations(name: str, hint: object, site: Site, layer: object) -> Iterator[Change]:
    """Yield configurations made for a site, of the class that is annotated or that lies beside the layer."""
    module = sys.modules.get(getattr(layer, "__module__", ""))
    beside = vars(module) if module else {}
    found = [hint, *(each for key, each in beside.items() if key.endswith(("Config", "Cfg", "Configuration")))]
    for kind in dict.fromkeys(each for each in found if isinstance(each, type)):
        try:
            takes = inspect.signature(kind).parameters
            given = of_constructor(kind, site)
            if not given and any(p.kind is p.VAR_KEYWORD for p in takes.values()):
                given = {key: KNOWN[key].value(site, 0) for key in _BY_THEIR_USUAL_NAMES}
            written = ", ".join(from_site(key, value).as_argument for key, value in given.items())
            made = kind(**given)
        except Exception:  # a class of somebody's: it may raise anything  # noqa: S112
            continue
        yield Change(name, f"{kind.__name__}({written})", lambda _, made=made: made)  # type: ignore[misc]


def _with_sizes(name: str, default: Any) -> Iterator[Change]:  # noqa: ANN401 - a dataclass of somebody's
    """Yield a configuration with the sizes that it leaves at None."""
    sizes = [f.name for f in dataclasses.fields(default) if "size" in f.name and getattr(default, f.name) is None]
    if sizes:
        both = dict.fromkeys(sizes, (SIDE, SIDE))
        written = ", ".join(f"{key}={value}" for key, value in both.items())
        made = dataclasses.replace(default, **both)
        yield Change(name, f"{type(default).__name__}({written})", lambda _: made)


def _one_a_head(name: str, number: int) -> Change:
    return Change(name, f"({number},) * site.heads", lambda site: (number,) * site.heads)


def _constant(name: str, value: object) -> Change:
    return Change(name, repr(value), lambda _: value)


def _is_called(name: str, words: Sequence[str]) -> bool:
    return any(word in name.lower() for word in words)


def side_of_windows(site: Site) -> int:
    """Return a length that divides both sides of a map, 7 if that does."""
    divides = [side for side in range(1, 9) if site.height % side == site.width % side == 0]
    return SIDE if SIDE in divides else max(divides)
