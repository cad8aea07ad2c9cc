"""Modules that know nothing of attnbench, as mechanisms: their constructor, their layout and their call found out.

A module that is wrapped is taken as the whole attention sub-layer: no norm is put before it and no residual around
it but the block's own. A module that adds its input itself is measured with two residuals.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from attnbench.errors import PluginError
from attnbench.mechanism import Map, Mechanism, Site
from attnbench.plugins.arguments import check_forward, of_constructor, of_forward, options_of
from attnbench.plugins.functional import between_projections
from attnbench.plugins.layout import LAYOUTS, Layout, to_map, to_module
from attnbench.probes.weightless import build_on_meta
from attnbench.record import Value

_MOST_TOKENS = 4096
"""Largest map on which a module is tried for real that cannot be tried without data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a foreign module is built and called."""

    layer: Callable[..., nn.Module]
    fixed: Mapping[str, object]
    """Constructor arguments that are the same at every site."""
    options: Mapping[str, inspect.Parameter]
    layout: Layout | None
    """As declared, None if it is to be found by trying."""
    prefix_tokens: int = 0
    """Class and register tokens, which stand before those of the map."""
    tried: dict[object, list[Layout]] = field(default_factory=dict, repr=False)
    """What was found, by the arguments of the constructor and the size of the map."""

    def build(self, site: Site, options: Mapping[str, Value]) -> nn.Module:
        """Build the module for a site."""
        from_site = of_constructor(self.layer, site, prefix_tokens=self.prefix_tokens)
        return self.layer(**from_site | dict(self.fixed) | dict(options))

    def prefix(self, site: Site, device: torch.device | None = None) -> Tensor | None:
        """Return the tokens (1, P, C) before those of a map, None for none.

        They are alike and small, as class tokens are in the beginning; what they hold changes no cost.
        """
        return torch.full((1, self.prefix_tokens, site.dim), 0.02, device=device) if self.prefix_tokens else None

    def layouts_at(self, site: Site, options: Mapping[str, Value]) -> list[Layout]:
        """Return the layouts in which the module keeps the shape of a map, found without data where possible.

        Raises:
            NoLayoutError: there is none, with what the module said to each.
            Exception: the module cannot be built; whatever it raised itself.
        """
        given = tuple(of_constructor(self.layer, site).items())
        asked = given, tuple(options.items()), site.height, site.width, site.dim
        if asked not in self.tried:
            self.tried[asked] = self._layouts_at(site, options)
        return self.tried[asked]

    def _layouts_at(self, site: Site, options: Mapping[str, Value]) -> list[Layout]:
        tried = LAYOUTS if self.layout is None else (self.layout,)
        with torch.random.fork_rng(devices=[]):
            try:
                model, _ = build_on_meta(lambda: (self.build(site, options), ()))
                return self._accepted(model, site, tried, torch.device("meta"))
            except Exception:
                if site.tokens > _MOST_TOKENS:
                    raise
                return self._accepted(self.build(site, options), site, tried, torch.device("cpu"))

    def _accepted(self, model: nn.Module, site: Site, tried: tuple[Layout, ...], device: torch.device) -> list[Layout]:
        accepted, said = _tried(model, site, tried, self.prefix(site, device), device)
        if accepted:
            return accepted
        one_more = torch.full((1, 1, site.dim), 0.02, device=device)
        hint = not self.prefix_tokens and _tried(model, site, ("BNC",), one_more, device)[0]
        raise NoLayoutError(_refusal(said) + (_ONE_MORE if hint else ""))


class NoLayoutError(Exception):
    """A module keeps the shape of a map in no layout that was tried."""


class Adapted(Mechanism):
    """A module of somebody's, called with the map in the layout that it takes."""

    compiles: ClassVar[bool] = False
    exports: ClassVar[bool] = False
    reach: ClassVar[Literal["local", "global"] | None] = None
    recipe: ClassVar[Recipe]
    found: ClassVar[Layout | None] = None
    """The layout, once it is known."""
    prefix: Tensor | None

    def __init__(self, site: Site, **options: Any) -> None:  # noqa: ANN401 - options as the module has them
        super().__init__(site)
        self.layout = self.layout_at(site, options)
        self.layer = self.recipe.build(site, options)
        self.register_buffer("prefix", self.recipe.prefix(site))
        self.further = of_forward(self.layer, site)

    def forward(self, x: Map) -> Map:
        """Return what the module makes of the map; of several outputs, the first."""
        y = _called(self.layer, to_module(x, self.layout, self.prefix), self.further)
        return to_map(y, self.layout, x.shape, prefix_tokens=self.recipe.prefix_tokens)

    @classmethod
    def layout_at(cls, site: Site, options: Mapping[str, Value]) -> Layout:
        """Return the layout that the module takes, tried once and then remembered.

        Raises:
            PluginError: more than one would do, so that it must be declared.
            Exception: the module cannot be built or run at the site; whatever it raised itself.
        """
        if cls.found is None:
            accepted = cls.recipe.layouts_at(site, options)
            if len(accepted) > 1:
                raise PluginError(
                    f"{cls.__name__} runs on maps laid out as {' and as '.join(accepted)}; say which it is made for: "
                    f'layout = "{accepted[0]}" in the class, or adapt(..., layout="{accepted[0]}")'
                )
            cls.found = accepted[0]
        return cls.found

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
            if cls.layout_at(site, options) not in cls.recipe.layouts_at(site, options):
                return f"it does not take {cls.found} there"
        except PluginError:
            raise
        except NoLayoutError as error:
            return str(error)
        except Exception as error:  # a module that was not written for attnbench has no other way to refuse
            return f"it raises {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return None


def adapt(
    layer: Callable[..., nn.Module] | None = None,
    *,
    qkv: Callable[..., Tensor] | None = None,
    layout: Layout | None = None,
    prefix_tokens: int = 0,
    reach: Literal["local", "global"] | None = None,
    trains: bool | None = None,
    **fixed: object,
) -> type[Mechanism]:
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
    name = getattr(layer, "__name__", type(layer).__name__)
    prefix_tokens = prefix_tokens or getattr(layer, "prefix_tokens", 0)
    layout = layout or getattr(layer, "layout", None) or ("BNC" if prefix_tokens else None)
    if prefix_tokens and layout != "BNC":
        raise PluginError(f"{name}: prefix_tokens stand before tokens in a row, layout BNC, and not in {layout}")
    if layout is not None and layout not in LAYOUTS:
        raise PluginError(f"{name}: layout {layout!r} is not known; write one of {', '.join(LAYOUTS)}")
    options = options_of(name, layer, fixed)
    check_forward(name, layer)
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
        "recipe": Recipe(layer=layer, fixed=fixed, options=options, layout=layout, prefix_tokens=prefix_tokens),
        "found": layout,
        **claims,
        **({"reach": reach} if reach else {}),
        **({"trains": trains} if trains is not None else {}),
    }
    return type(name, (Adapted,), members)


_SITE = inspect.Parameter("site", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Site)


def _constructor(options: Mapping[str, inspect.Parameter]) -> Callable[..., None]:
    """Return an ``__init__`` whose annotations are those of the options, by which values are read."""

    def __init__(self: Adapted, site: Site, **given: Any) -> None:  # noqa: ANN401, N807
        Adapted.__init__(self, site, **given)

    __init__.__annotations__ = {name: parameter.annotation for name, parameter in options.items()}
    return __init__


def _called(model: nn.Module, x: Tensor, further: Mapping[str, object]) -> Tensor:
    y = model(x, **further)
    first: Tensor = y[0] if isinstance(y, tuple | list) else y
    return first


_ONE_MORE = (
    "; with one token before those of the map it does: is that a class token? "
    "say prefix_tokens = 1 in the class, or adapt(..., prefix_tokens=1)"
)


def _tried(
    model: nn.Module, site: Site, layouts: tuple[Layout, ...], prefix: Tensor | None, device: torch.device
) -> tuple[list[Layout], dict[str, str]]:
    """Return the layouts in which a module keeps the shape, and what it raised or returned in the others."""
    accepted: list[Layout] = []
    said: dict[str, str] = {}
    for layout in layouts:
        x = to_module(torch.zeros(1, site.height, site.width, site.dim, device=device), layout, prefix)
        try:
            with torch.no_grad():
                y = _called(model.eval(), x, of_forward(model, site))
        except Exception as error:
            said[layout] = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            continue
        if isinstance(y, Tensor) and y.shape == x.shape:
            accepted.append(layout)
        else:
            said[layout] = f"{_described(y)} for {tuple(x.shape)}"
    return accepted, said


def _refusal(said: Mapping[str, str]) -> str:
    alike = set(said.values())
    each = "; ".join(f"{layout}: {text}" for layout, text in said.items())
    return f"it keeps the shape of a map in no layout: {each if len(alike) > 1 else alike.pop()}"


def _described(y: object) -> str:
    return str(tuple(y.shape)) if isinstance(y, Tensor) else f"a {type(y).__name__}"
