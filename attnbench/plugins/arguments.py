"""What a foreign module is built and called with: arguments that a site can fill in, known by their names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from attnbench.errors import PluginError, did_you_mean
from attnbench.mechanism import Site
from attnbench.plugins.options import hints, is_value

_CHANNELS = "dim embed_dim embed_dims channels in_channels in_dim in_chans d_model hidden_size"
_HEADS = "heads num_heads n_heads n_head nhead num_attention_heads"
_HEAD_DIM = "head_dim dim_head head_size"
_SIZE = "input_resolution resolution map_size feat_size fmap_size input_size size"
_PATCHES = "num_patches"
_TOKENS = "tokens num_tokens n_tokens seq_len"
_PREFIX = "prefix_tokens num_prefix_tokens"
_CONFIGS = ("config", "cfg", "conf", "configuration", "args")
_FORWARD_SIZE = "size hw hw_shape x_size resolution input_resolution"
_ANY_SITE = Site(height=1, width=1, dim=1, heads=1)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

Layer = Callable[..., nn.Module]


def of_constructor(layer: Layer, site: Site, *, prefix_tokens: int = 0) -> dict[str, object]:
    """Return the arguments of a constructor that a site fills in; of those that default to None, the site alone.

    Args:
        layer: what is called.
        site: where it is built.
        prefix_tokens: tokens that stand before those of the map.
    """
    known = _constructor_values(site, prefix_tokens)
    takes = inspect.signature(layer).parameters
    wanted = (name for name in takes if name in known)
    return {name: known[name] for name in wanted if name == "site" or takes[name].default is not None}


def of_forward(model: nn.Module, site: Site) -> dict[str, object]:
    """Return the arguments beside the map that a module's ``forward`` cannot do without."""
    known = _forward_values(site)
    _, *others = inspect.signature(model.forward).parameters.values()
    return {p.name: known[p.name] for p in others if p.name in known and p.default is p.empty}


def options_of(name: str, layer: Layer, fixed: Mapping[str, object]) -> dict[str, inspect.Parameter]:
    """Return the arguments of a constructor that are left to the user, as keyword-only parameters.

    Raises:
        PluginError: nothing can fill one in, or one is fixed that there is not.
    """
    known = _constructor_values(_ANY_SITE)
    known_hints = hints(layer.__init__ if isinstance(layer, type) else layer)  # type: ignore[misc]
    takes = inspect.signature(layer).parameters
    options, missing = {}, []
    for parameter in takes.values():
        if parameter.name in known or parameter.name in fixed or parameter.kind in _VARIADIC:
            continue
        if parameter.default is parameter.empty:
            missing.append(parameter.name)
        elif parameter.default is not None and is_value(parameter.default):
            hint = known_hints.get(parameter.name, type(parameter.default))
            options[parameter.name] = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hint)
    if missing:
        raise PluginError(
            f"{name} needs {', '.join(missing)}, which no site has; {_advice(name, missing, known_hints)}"
        )
    unknown = (
        [] if any(p.kind is p.VAR_KEYWORD for p in takes.values()) else [each for each in fixed if each not in takes]
    )
    if unknown:
        raise PluginError(f"{name} takes no {unknown[0]!r}; {did_you_mean(unknown[0], takes)}")
    return options


def _advice(name: str, missing: Sequence[str], known_hints: Mapping[str, object]) -> str:
    configs = [each for each in missing if each in _CONFIGS]
    if not configs:
        return f"give each a default, or fix it: {name} = adapt({name}, {missing[0]}=...)"
    kind = getattr(known_hints.get(configs[0]), "__name__", "Config")
    built = f"{name}({kind}(hidden_size=site.dim, num_attention_heads=site.heads))"
    return f"a configuration is made for a site, by the names that it has there: Mine = adapt(lambda site: {built})"


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


def _constructor_values(site: Site, prefix_tokens: int = 0) -> dict[str, object]:
    """Return what a site has to give, under every name that a constructor may ask for it by."""
    return {
        "site": site,
        "height": site.height,
        "width": site.width,
        **dict.fromkeys(_CHANNELS.split(), site.dim),
        **dict.fromkeys(_HEADS.split(), site.heads),
        **dict.fromkeys(_HEAD_DIM.split(), site.head_dim),
        **dict.fromkeys(_SIZE.split(), (site.height, site.width)),
        **dict.fromkeys(_PATCHES.split(), site.tokens),
        **dict.fromkeys(_TOKENS.split(), prefix_tokens + site.tokens),
        **(dict.fromkeys(_PREFIX.split(), prefix_tokens) if prefix_tokens else {}),
    }


def _forward_values(site: Site) -> dict[str, object]:
    """Return what a site has to give, under every name that a ``forward`` may ask for it by."""
    return {
        **dict.fromkeys(("H", "h", "height"), site.height),
        **dict.fromkeys(("W", "w", "width"), site.width),
        **dict.fromkeys(_FORWARD_SIZE.split(), (site.height, site.width)),
    }
