"""What a foreign module is built and called with: arguments that a site can fill in, known by their names."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from attnbench.errors import PluginError, did_you_mean
from attnbench.mechanism import Site
from attnbench.plugins.names import CONFIGS, KNOWN, PLACES
from attnbench.plugins.options import alternatives, hints, is_readable, is_value

Layer = Callable[..., nn.Module]
PLAIN = int | float | bool | str
"""What an argument admits that says nothing of itself."""
_ANY_SITE = Site(height=1, width=1, dim=1, heads=1)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class SiteError(Exception):
    """A site has not what an argument asks for."""


_PREFIX = ("prefix_tokens", "num_prefix_tokens")
"""Filled in where there are such tokens, else an option like others."""
_FORWARD_SIZE = "size hw hw_shape x_size resolution input_resolution feat_size"


def of_constructor(
    layer: Layer, site: Site, *, prefix_tokens: int = 0, needed: Iterable[str] = ()
) -> dict[str, object]:
    """Return the arguments of a constructor that a site fills in; of those that default to None, the site alone.

    Args:
        layer: what is called.
        site: where it is built.
        prefix_tokens: tokens that stand before those of the map.
        needed: arguments that are filled in although they default to None.

    Raises:
        SiteError: a map that is not square has no size in one number.
    """
    given: dict[str, object] = {}
    known_hints = hints_of(layer)
    for name, parameter in inspect.signature(layer).parameters.items():
        if prefix_tokens and name in _PREFIX:
            given[name] = prefix_tokens
        elif _is_filled_in(parameter) and (parameter.default is not None or name == "site" or name in needed):
            value = KNOWN[name].value(site, prefix_tokens)
            given[name] = _as_taken(value, parameter, known_hints.get(name)) if isinstance(value, tuple) else value
    return given


def _is_filled_in(parameter: inspect.Parameter) -> bool:
    meaning = KNOWN.get(parameter.name)
    if meaning is None or parameter.kind in _VARIADIC:
        return False
    return not meaning.if_asked or parameter.default is None or parameter.default is parameter.empty


def _as_taken(size: tuple[Any, Any], parameter: inspect.Parameter, hint: object) -> object:
    """Return a size as the pair that it is, or as one number where that is what is annotated, or the default."""
    height, width = size
    if hint is None:
        return height if type(parameter.default) is int and height == width else size
    kinds = alternatives(hint)
    if int not in kinds or any(kind not in (int, float, type(None)) for kind in kinds):
        return size
    if height != width:
        raise SiteError(f"{parameter.name} is one whole number, which a map of {height}x{width} tokens does not have")
    return height


def left_at_none(layer: Layer, fixed: Iterable[str], *, sizes: bool) -> tuple[str, ...]:
    """Return the arguments that default to None and that a site could fill in: the sizes alone, or all of them."""
    takes = inspect.signature(layer).parameters.values()
    left = [p.name for p in takes if p.default is None and _is_filled_in(p) and p.name not in {"site", *fixed}]
    return tuple(name for name in left if KNOWN[name].is_size or not sizes)


def of_forward(model: nn.Module, site: Site) -> dict[str, object]:
    """Return the arguments beside the map that a module's ``forward`` cannot do without."""
    known = _forward_values(site)
    _, *others = inspect.signature(model.forward).parameters.values()
    return {p.name: known[p.name] for p in others if p.name in known and p.default is p.empty}


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """The arguments of a constructor that no site fills in."""

    options: Mapping[str, inspect.Parameter]
    """What can be written behind a name, as keyword-only parameters."""
    unset: frozenset[str]
    """Those of them that default to None, and are no part of a cell where nobody sets them."""
    missing: tuple[str, ...]
    """What has no default and cannot be written, such as a configuration or a class."""


def left_to_the_user(name: str, layer: Layer, fixed: Mapping[str, object]) -> Left:
    """Return the arguments of a constructor that are left to the user.

    Raises:
        PluginError: an argument is fixed that there is not, or nobody can tell what it takes.
    """
    known_hints = hints_of(layer)
    try:
        takes = inspect.signature(layer).parameters
    except (TypeError, ValueError):
        raise PluginError(
            f"{name} does not say what it takes; if that is q, k and v, write Mine = adapt(qkv={name})"
        ) from None
    if not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        for each in fixed:
            if each not in takes:
                raise PluginError(f"{name} takes no {each!r}; {did_you_mean(each, takes)}")
    options: dict[str, inspect.Parameter] = {}
    missing = []
    for parameter in takes.values():
        default = parameter.default
        if parameter.name in {"site", *fixed, *PLACES} or parameter.kind in _VARIADIC:
            continue
        if _is_filled_in(parameter) and default is not None:
            continue
        hint = known_hints.get(parameter.name, _untold(layer, parameter))
        hint = int if is_pair(hint) and not is_readable(hint) else hint
        if not is_readable(hint) or not (default is parameter.empty or is_value(default)):
            missing += [parameter.name] if default is parameter.empty else []
            continue
        options[parameter.name] = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hint)
    unset = frozenset(each.name for each in options.values() if each.default is None)
    return Left(options=options, unset=unset, missing=tuple(missing))


def is_pair(hint: object) -> bool:
    """Return whether an annotation admits two whole numbers, which one stands for on a command line."""
    return any(typing.get_args(kind) == (int, int) and typing.get_origin(kind) is tuple for kind in alternatives(hint))


def _untold(layer: Layer, parameter: inspect.Parameter) -> object:
    """Return what an argument without annotation admits: what its default is, or any plain value.

    What a function needs without saying what it is may be anything, the map itself.
    """
    if not (parameter.default is None or parameter.default is parameter.empty):
        return type(parameter.default)
    is_plain = parameter.default is None or (isinstance(layer, type) and parameter.name.lower() not in CONFIGS)
    return PLAIN if is_plain else None


def hints_of(layer: Layer) -> dict[str, Any]:
    """Return the annotations of what a module is built with."""
    while isinstance(layer, functools.partial):
        layer = layer.func
    return hints(layer.__init__ if isinstance(layer, type) else layer)  # type: ignore[misc]


def check_forward(name: str, layer: Layer) -> None:
    """Raise PluginError if a class's ``forward`` needs more than the map and its size."""
    if not (isinstance(layer, type) and issubclass(layer, nn.Module)):
        return
    known = _forward_values(_ANY_SITE)
    takes = list(inspect.signature(layer.forward).parameters.values())[1:]
    missing = [p.name for p in takes[1:] if p.default is p.empty and p.kind not in _VARIADIC and p.name not in known]
    if not takes or missing:
        wanted = f"needs {', '.join(missing)} beside the map" if missing else "takes no map"
        raise PluginError(f"{name}.forward {wanted}; write a module whose forward(x) calls it, and name that one")


def is_asked_for(name: str) -> bool:
    """Return whether an argument of a ``forward`` is known by its name, as one that says how large the map is."""
    return name in _forward_values(_ANY_SITE)


def _forward_values(site: Site) -> dict[str, object]:
    """Return what a site has to give, under every name that a ``forward`` may ask for it by."""
    return {
        **dict.fromkeys(("H", "h", "height"), site.height),
        **dict.fromkeys(("W", "w", "width"), site.width),
        **dict.fromkeys(_FORWARD_SIZE.split(), (site.height, site.width)),
    }
