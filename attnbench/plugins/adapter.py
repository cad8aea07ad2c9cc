"""Modules that know nothing of attnbench, as mechanisms: their constructor, their layout and their call found out.

A module that is wrapped is taken as the whole attention sub-layer: no norm is put before it and no residual around
it but the block's own. A module that adds its input itself is measured with two residuals.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from attnbench.errors import PluginError
from attnbench.mechanism import Map, Mechanism, Site
from attnbench.plugins.advice import Adviser
from attnbench.plugins.arguments import SiteError, check_forward, left_to_the_user, of_forward
from attnbench.plugins.fitting import NoLayoutError, described, first_of
from attnbench.plugins.functional import between_projections
from attnbench.plugins.layout import LAYOUTS, Layout, to_map, to_module
from attnbench.plugins.names import CONFIGS, KNOWN
from attnbench.plugins.recipe import Fit, Recipe
from attnbench.record import Value

_USUAL_SITE = Site(height=14, width=14, dim=96, heads=3)
_ANOTHER_SITE = Site(height=7, width=7, dim=384, heads=12)
"""Where a layer is tried that cannot be built as it is: what works at both is shown first."""


class Adapted(Mechanism):
    """A module of somebody's, called with the map in the layout that it takes."""

    compiles: ClassVar[bool] = False
    exports: ClassVar[bool] = False
    reach: ClassVar[Literal["local", "global"] | None] = None
    recipe: ClassVar[Recipe]
    unset: ClassVar[frozenset[str]] = frozenset()
    """Options that are no part of a cell where nobody sets them."""
    named: ClassVar[str] = ""
    """As it is named on a command line."""
    found: ClassVar[Layout | None] = None
    """The layout, once it is known."""
    advised: ClassVar[bool] = False
    """Whether it was said what the module would run with: looking for that takes a second."""
    prefix: Tensor | None

    def __init__(self, site: Site, **options: Any) -> None:  # noqa: ANN401 - options as the module has them
        super().__init__(site)
        self.layout = self.layout_at(site, options)
        self.prefix_tokens = self.recipe.prefix_in(options)
        self.layer = self.recipe.build(site, options, self.recipe.needed_at(site, options))
        self.register_buffer("prefix", self.recipe.prefix(site, options))
        self.further = of_forward(self.layer, site)

    def forward(self, x: Map) -> Map:
        """Return what the module makes of the map; of several outputs, the first."""
        y = first_of(self.layer(to_module(x, self.layout, self.prefix), **self.further))
        return to_map(y, self.layout, x.shape, prefix_tokens=self.prefix_tokens)

    @classmethod
    def layout_at(cls, site: Site, options: Mapping[str, Value]) -> Layout:
        """Return the layout that the module takes, tried once and then remembered.

        Raises:
            PluginError: more than one would do, so that it must be declared.
            Exception: the module cannot be built or run at the site; whatever it raised itself.
        """
        asked = cls.recipe.layout_in(options)
        if asked is None and cls.found is None:
            accepted = cls.recipe.fit_at(site, options).layouts
            if len(accepted) > 1:
                raise PluginError(
                    f"{cls.__name__} runs on maps laid out as {' and as '.join(accepted)}; say which it is made for: "
                    f'write {cls.named}:layout={accepted[-1]}, layout = "{accepted[-1]}" in the class, '
                    f'or adapt(..., layout="{accepted[-1]}")'
                )
            cls.found = accepted[0]
        layout = asked or cls.found
        assert layout is not None
        return layout

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say what the module raises when it is built and called at a site, None if nothing.

        Raises:
            PluginError: the layout cannot be told by trying.
        """
        reason = super().why_unsupported(site)
        if reason:
            return reason
        try:
            layout = cls.layout_at(site, options)
            if layout not in cls.recipe.fit_at(site, options).layouts:
                return f"it does not take {layout} there"
        except PluginError:
            raise
        except (NoLayoutError, SiteError) as error:
            return str(error) + cls._advice(site, options)
        except Exception as error:  # a module that was not written for attnbench has no other way to refuse
            return f"it raises {described(error)}" + cls._advice(site, options)
        return None

    @classmethod
    def _advice(cls, site: Site, options: Mapping[str, Value]) -> str:
        """Return what the module would run with, once; not for one that runs elsewhere: it is unfit for this site."""
        if cls.recipe.tried or cls.advised:
            return ""
        cls.advised = True
        return Adviser(recipe=cls.recipe, site=site, options=options, named=cls.named).that_works()

    @classmethod
    def what_works(cls, options: Mapping[str, Value], missing: Sequence[str]) -> str:
        """Return the end of a message that says what the options without a default may be; empty if that is not known.

        Args:
            options: that have a value.
            missing: those that have none.
        """
        adviser = Adviser(
            recipe=cls.recipe, site=_USUAL_SITE, options=options, named=cls.named, elsewhere=[_ANOTHER_SITE]
        )
        return adviser.that_works(missing)

    @classmethod
    def adaptation(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say what was assumed of the module because it says nothing of it itself, None if nothing was."""
        fit = cls.recipe.fit_at(site, options)
        return "; ".join(_assumed(fit, cls.recipe.layout_in(options))) or None


def _assumed(fit: Fit, declared: Layout | None) -> list[str]:
    sizes, others = ([n for n in fit.needed if KNOWN[n].is_size is is_size] for is_size in (True, False))
    said = []
    if declared is None:
        said.append(f"called with {fit.layouts[0]}, the one layout in which it keeps a map's shape")
    if sizes:
        said.append(f"given the map's size as {', '.join(sizes)}, without which it does not run")
    if others:
        said.append(f"given {', '.join(others)}, without which it does not run")
    if fit.outputs > 1:
        said.append(f"the first of its {fit.outputs} outputs is taken")
    return said


def adapt(
    layer: Callable[..., nn.Module] | None = None,
    *,
    qkv: Callable[..., Tensor] | None = None,
    layout: Layout | None = None,
    prefix_tokens: int = 0,
    reach: Literal["local", "global"] | None = None,
    trains: bool | None = None,
    **fixed: object,
) -> type[Adapted]:
    """Return a mechanism that builds and calls a module which knows nothing of attnbench.

    The constructor's arguments are filled in by their names: the channels, the heads, the channels per head, the
    height and width of the map, or a ``site`` (see ``docs/write-a-mechanism.md``); not those whose default is None,
    which a layer works out itself. What else has an int, float, bool or str for its default is an option.

    Args:
        layer: a module class, or a function that returns a module.
        qkv: instead of it, a function of q, k and v, each (B, h, N, d), that returns the attended values, (B, h, N, d);
            it is called between the usual projections. Its further arguments are options.
        layout: ``BHWC``, ``BNC`` or ``BCHW``; the attribute ``layout`` of the class if it has one, else found by
            trying which of the three keeps its shape.
        prefix_tokens: class and register tokens that the module takes before those of the map, in ``BNC``; the
            attribute of the class if it has one.
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
    recipe = Recipe(layer=layer, fixed=fixed, layout=layout, prefix_tokens=prefix_tokens)
    if left.missing:
        raise PluginError(_missing(name, recipe, left.missing))
    settings = {name: _setting(name, admits) for name, admits in recipe.settings().items()}
    options = {**left.options, **settings}
    claims = {
        claim: getattr(layer, claim)
        for claim in ("compiles", "exports", "paper", "reach", "trains")
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
    adviser = Adviser(recipe=recipe, site=_USUAL_SITE, options={}, named=name, elsewhere=[_ANOTHER_SITE])
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
