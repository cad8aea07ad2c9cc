"""Modules that know nothing of attnbench, as mechanisms: their constructor, their layout and their call found out.

A module that is wrapped is taken as the whole attention sub-layer: no norm is put before it and no residual around
it but the block's own. A module that adds its input itself is measured with two residuals.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from attnbench.errors import PluginError
from attnbench.mechanism import Site
from attnbench.plugins.adapted import ANOTHER_SITE, USUAL_SITE, Adapted
from attnbench.plugins.advice import Adviser
from attnbench.plugins.arguments import check_forward, left_to_the_user
from attnbench.plugins.functional import between_projections
from attnbench.plugins.layout import LAYOUTS, Layout
from attnbench.plugins.names import CONFIGS
from attnbench.plugins.recipe import Recipe


def adapt(
    layer: Callable[..., nn.Module] | None = None,
    *,
    qkv: Callable[..., Tensor] | None = None,
    layout: Layout | None = None,
    prefix_tokens: int = 0,
    windows: int = 0,
    reach: Literal["local", "global"] | None = None,
    trains: bool | None = None,
    **fixed: object,
) -> type[Adapted]:
    """Return a mechanism that builds and calls a module which knows nothing of attnbench.

    The constructor's arguments are filled in by their names: the channels, the heads, the channels per head, the
    height and width of the map, or a ``site`` (see ``docs/how-to/write-a-mechanism.md``); not those whose default is
    None, which a layer works out itself. What else has an int, float, bool or str for its default is an option.

    Args:
        layer: a module class, or a function that returns a module.
        qkv: instead of it, a function of q, k and v, each (B, h, N, d), that returns the attended values, (B, h, N, d);
            it is called between the usual projections. Its further arguments are options.
        layout: ``BHWC``, ``BNC`` or ``BCHW``; the attribute ``layout`` of the class if it has one, else found by
            trying which of the three keeps its shape.
        prefix_tokens: class and register tokens that the module takes before those of the map, in ``BNC``; the
            attribute of the class if it has one.
        windows: tokens along a side of the windows that the module takes in the place of a map, each as an image of its
            own; the attribute of the class if it has one.
        reach: whether a token can be influenced by every other one, see ``Mechanism``.
        trains: False for one that only infers; the attribute of the class if it has one.
        fixed: constructor arguments that are the same at every site.

    Raises:
        PluginError: the constructor or ``forward`` needs an argument that cannot be filled in, the layout is none
            of the three, or not one of a layer and a function is given.

    Example:
        >>> import torch
        >>> from timm.models.vision_transformer import Attention
        >>> from attnbench import Site
        >>> ViTAttention = adapt(Attention, layout="BNC", reach="global")
        >>> layer = ViTAttention(Site(height=7, width=7, dim=64, heads=2))
        >>> layer(torch.zeros(1, 7, 7, 64)).shape
        torch.Size([1, 7, 7, 64])
        >>> Plain = adapt(qkv=torch.nn.functional.scaled_dot_product_attention, reach="global")
        >>> Plain(Site(height=7, width=7, dim=64, heads=2))(torch.zeros(1, 7, 7, 64)).shape
        torch.Size([1, 7, 7, 64])
    """
    if (layer is None) == (qkv is None):
        raise PluginError("adapt takes a layer, or a function of q, k and v: adapt(MyLayer) or adapt(qkv=my_attention)")
    if qkv is not None:
        layer, layout = between_projections(qkv), "BNC"
    assert layer is not None
    name = getattr(layer, "__name__", "") or getattr(getattr(layer, "func", layer), "__name__", type(layer).__name__)
    prefix_tokens = prefix_tokens or getattr(layer, "prefix_tokens", 0)
    layout = layout or getattr(layer, "layout", None) or ("BNC" if prefix_tokens else None)
    if prefix_tokens and layout != "BNC":
        raise PluginError(f"{name}: prefix_tokens stand before tokens in a row, layout BNC, and not in {layout}")
    if layout is not None and layout not in LAYOUTS:
        raise PluginError(f"{name}: layout {layout!r} is not known; write one of {', '.join(LAYOUTS)}")
    left = left_to_the_user(name, layer, fixed)
    check_forward(name, layer)
    windows = windows or getattr(layer, "windows", 0)
    recipe = Recipe(layer=layer, fixed=fixed, layout=layout, prefix_tokens=prefix_tokens, windows=windows)
    if left.missing:
        raise PluginError(_missing(name, recipe, left.missing))
    settings = {name: _setting(name, admits) for name, admits in recipe.settings().items()}
    options = {**left.options, **settings}
    claims = {
        claim: getattr(layer, claim)
        for claim in ("added", "compiles", "exports", "paper", "reach", "trains")
        if hasattr(layer, claim)
    }
    members = {
        "__init__": _constructor(options),
        "__signature__": inspect.Signature([_SITE, *options.values()]),
        "__module__": getattr(layer, "__module__", __name__),
        "__doc__": inspect.getdoc(layer),
        "recipe": recipe,
        "found": layout,
        "named": name,
        "unset": left.unset | settings.keys(),
        **claims,
        **({"reach": reach} if reach else {}),
        **({"trains": trains} if trains is not None else {}),
    }
    return type(name, (Adapted,), members)


_SITE = inspect.Parameter("site", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Site)


def _setting(name: str, admits: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=admits)


def _missing(name: str, recipe: Recipe, missing: Sequence[str]) -> str:
    """Say what a constructor needs that cannot be written behind its name, and what it may be."""
    adviser = Adviser(recipe=recipe, site=USUAL_SITE, options={}, named=name, elsewhere=[ANOTHER_SITE])
    works = adviser.that_works(missing)
    if not works and CONFIGS.intersection(missing):
        works = (
            "; a configuration is made for a site, by the names that it has there: "
            f"Mine = adapt(lambda site: {name}(Config(hidden_size=site.dim, num_attention_heads=site.heads)))"
        )
    elif not works and not isinstance(recipe.layer, type):
        works = f"; where it is a function of q, k and v, by whatever names, write Mine = adapt(qkv={name})"
    return f"{name} needs {', '.join(missing)}, which no site has" + (
        works or f"; give each a default, or fix it: {name} = adapt({name}, {missing[0]}=...)"
    )


def _constructor(options: Mapping[str, inspect.Parameter]) -> Callable[..., None]:
    """Return an ``__init__`` whose annotations are those of the options, by which values are read."""

    def __init__(self: Adapted, site: Site, **given: Any) -> None:  # noqa: ANN401, N807
        Adapted.__init__(self, site, **given)

    __init__.__annotations__ = {name: parameter.annotation for name, parameter in options.items()}
    return __init__
