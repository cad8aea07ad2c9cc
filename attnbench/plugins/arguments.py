"""What a foreign module is built and called with: arguments that a site can fill in, known by their names."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from attnbench.errors import PluginError, did_you_mean
from attnbench.mechanism import Site
from attnbench.plugins.options import alternatives, hints, is_readable, is_value

Layer = Callable[..., nn.Module]
PLAIN = int | float | bool | str
"""What an argument admits that says nothing of itself."""
_ANY_SITE = Site(height=1, width=1, dim=1, heads=1)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
CONFIGS = frozenset({"config", "cfg", "conf", "configuration", "args"})
"""What a configuration is called, which is made for a site and cannot be written behind a name."""
_PLACES = {"device", "dtype"}
"""Where and in which type a layer is built: the harness's to say."""


class SiteError(Exception):
    """A site has not what an argument asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What arguments of some names mean."""

    names: frozenset[str]
    value: Callable[[Site, int], object]
    """Of a site and of the number of tokens before those of the map."""
    written: str
    """The same in Python, without those tokens."""
    is_size: bool = False
    """Whether it says how large the map is."""
    if_asked: bool = False
    """Whether it is filled in only where there is no default but None: as a number it may be in another unit."""


def _meaning(names: str, value: Callable[[Site, int], object], written: str, **more: bool) -> Meaning:
    return Meaning(names=frozenset(names.split()), value=value, written=written, **more)


_CHANNELS = (
    "dim in_dim in_dims input_dim n_dims embed_dim embed_dims n_embd d_model hidden_size channel channels in_channels "
    "in_chans in_chs chs in_planes inplanes inp gate_channels"
)
_RETURNED = "dim_out out_dim out_dims output_dim out_channels out_chans out_chs out_planes oup"
_SIZE = "input_resolution resolution map_size feat_size feature_size fmap_size input_size spatial_size size"
_BOTH_SIDES = "(site.height, site.width)"
MEANINGS = (
    _meaning("site", lambda site, _: site, "site"),
    _meaning(f"{_CHANNELS} {_RETURNED}", lambda site, _: site.dim, "site.dim"),
    _meaning("heads num_heads n_heads n_head nhead num_attention_heads", lambda site, _: site.heads, "site.heads"),
    _meaning("head_dim dim_head head_size", lambda site, _: site.head_dim, "site.head_dim"),
    _meaning(_SIZE, lambda site, _: (site.height, site.width), _BOTH_SIDES, is_size=True),
    _meaning("img_size", lambda site, _: (site.height, site.width), _BOTH_SIDES, is_size=True, if_asked=True),
    _meaning("height", lambda site, _: site.height, "site.height", is_size=True),
    _meaning("width", lambda site, _: site.width, "site.width", is_size=True),
    _meaning("num_patches", lambda site, _: site.tokens, "site.tokens", is_size=True),
    _meaning(
        "tokens num_tokens n_tokens seq_len", lambda site, prefix: prefix + site.tokens, "site.tokens", is_size=True
    ),
)
"""What a site can fill in. A name that is not here is an option, or has to be given."""
KNOWN = {name: meaning for meaning in MEANINGS for name in meaning.names}
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
        PluginError: an argument is fixed that there is not.
    """
    known_hints = hints_of(layer)
    takes = inspect.signature(layer).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        for each in fixed:
            if each not in takes:
                raise PluginError(f"{name} takes no {each!r}; {did_you_mean(each, takes)}")
    options: dict[str, inspect.Parameter] = {}
    missing = []
    for parameter in takes.values():
        default = parameter.default
        if parameter.name in {"site", *fixed, *_PLACES} or parameter.kind in _VARIADIC:
            continue
        if _is_filled_in(parameter) and default is not None:
            continue
        hint = known_hints.get(parameter.name, _untold(layer, parameter))
        if not is_readable(hint) or not (default is parameter.empty or is_value(default)):
            missing += [parameter.name] if default is parameter.empty else []
            continue
        options[parameter.name] = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hint)
    unset = frozenset(each.name for each in options.values() if each.default is None)
    return Left(options=options, unset=unset, missing=tuple(missing))


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


def _forward_values(site: Site) -> dict[str, object]:
    """Return what a site has to give, under every name that a ``forward`` may ask for it by."""
    return {
        **dict.fromkeys(("H", "h", "height"), site.height),
        **dict.fromkeys(("W", "w", "width"), site.width),
        **dict.fromkeys(_FORWARD_SIZE.split(), (site.height, site.width)),
    }
