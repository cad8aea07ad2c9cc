"""How a module that knows nothing of attnbench is built and called at a site: found by trying, without data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from attnbench.errors import PluginError
from attnbench.mechanism import Site
from attnbench.plugins import lazies
from attnbench.plugins.arguments import SiteError, hints_of, is_asked_for, is_pair, left_at_none, of_constructor
from attnbench.plugins.fitting import Fitting, NoLayoutError, mixes_images
from attnbench.plugins.layout import FOUND_BY_TRYING, IN_BLOCKS, Layout
from attnbench.plugins.names import KNOWN
from attnbench.record import Value

_MOST_WITH_IMAGES = 1024
"""Largest map on which it is seen whether the images of a batch see each other."""
_MOST_TOKENS = 4096
"""Largest map on which a module is tried for real that cannot be tried without data."""
_MIXED = "called with BNC, the images of a batch see each other"
_TOKENS_FIRST = (
    '; with the tokens first they do not: write :layout=NBC behind its name, say layout = "NBC" in the class, '
    'or adapt(..., layout="NBC")'
)
SETTINGS: Mapping[str, Any] = {"layout": Layout, "prefix_tokens": int, "windows": int}
"""Options that say how a module is called, with what they admit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How a module is built and called at a site."""

    layouts: Sequence[Layout]
    """Those in which it keeps the shape of a map."""
    needed: tuple[str, ...] = ()
    """Arguments that default to None and without which it does not run."""
    outputs: int = 1
    """How many it returns; the first is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a foreign module is built from."""

    layer: Callable[..., nn.Module]
    fixed: Mapping[str, object]
    """Constructor arguments that are the same at every site."""
    layout: Layout | None = None
    """As declared, None if it is to be found by trying."""
    prefix_tokens: int = 0
    """Class and register tokens, which stand before those of the map."""
    windows: int = 0
    """Tokens along a side of the windows that a map is cut into for the module, 0 for the map as it is."""
    tried: dict[object, Fit] = field(default_factory=dict, repr=False)
    """What was found, by the arguments of the constructor and the size of the map."""

    def settings(self) -> dict[str, object]:
        """Return those options that say how the module is called, and what they admit: of what is not declared."""
        takes = inspect.signature(self.layer).parameters
        laid_out = self.layout is not None or bool(self.prefix_tokens)
        declared = {"layout": laid_out, "prefix_tokens": laid_out, "windows": bool(self.windows)}
        return {name: admits for name, admits in SETTINGS.items() if name not in takes and not declared[name]}

    def layout_in(self, options: Mapping[str, Value]) -> Layout | None:
        """Return the layout that is declared or among the options, None if it is to be found by trying."""
        asked = options.get("layout") if "layout" in self.settings() else None
        return asked or self.layout or ("BNC" if self.prefix_in(options) else None)  # type: ignore[return-value]

    def prefix_in(self, options: Mapping[str, Value]) -> int:
        """Return how many tokens stand before those of the map."""
        asked = options.get("prefix_tokens") if "prefix_tokens" in self.settings() else None
        return int(asked or self.prefix_tokens)

    def windows_in(self, options: Mapping[str, Value]) -> int:
        """Return the side of the windows that a map is cut into, 0 if it is not."""
        asked = options.get("windows") if "windows" in self.settings() else None
        return int(asked or self.windows)

    def inside(self, site: Site, options: Mapping[str, Value]) -> Site:
        """Return the site as the module sees it: that of a window, where the map is cut into some.

        Raises:
            SiteError: the map is not made of such windows.
        """
        side = self.windows_in(options)
        if not side:
            return site
        if side < 0 or site.height % side or site.width % side:
            raise SiteError(f"a map of {site.height}x{site.width} tokens is not made of windows of {side}x{side}")
        return replace(site, height=side, width=side)

    def build(self, site: Site, options: Mapping[str, Value], needed: Sequence[str] = ()) -> nn.Module:
        """Build the module for a site.

        Args:
            site: where.
            options: as given.
            needed: arguments that are filled in although they default to None.
        """
        site, settings, known = self.inside(site, options), self.settings(), hints_of(self.layer)
        own = {
            name: (value, value) if type(value) is int and is_pair(known.get(name)) else value
            for name, value in options.items()
            if name not in settings
        }
        prefix = self.prefix_in(options)
        from_site = of_constructor(self.layer, site, prefix_tokens=prefix, needed=[n for n in needed if n not in own])
        return self.layer(**from_site | dict(self.fixed) | own)

    def prefix(self, site: Site, options: Mapping[str, Value], device: torch.device | None = None) -> Tensor | None:
        """Return the tokens (1, P, C) before those of a map, None for none.

        They are alike and small, as class tokens are in the beginning; what they hold changes no cost.
        """
        count = self.prefix_in(options)
        return torch.full((1, count, site.dim), 0.02, device=device) if count else None

    def needed_at(self, site: Site, options: Mapping[str, Value]) -> tuple[str, ...]:
        """Return the arguments that default to None and without which the module does not run at a site."""
        return self.fit_at(site, options).needed if left_at_none(self.layer, self.fixed, sizes=False) else ()

    def fit_at(self, site: Site, options: Mapping[str, Value]) -> Fit:
        """Return how the module is built and called at a site, found without data where possible.

        Raises:
            NoLayoutError: it keeps the shape of a map in no layout, with what it said to each.
            PluginError: tokens before those of a map are asked for in a layout that has none.
            Exception: the module cannot be built; whatever it raised itself.
        """
        site = self.inside(site, options)
        given = tuple(of_constructor(self.layer, site).items())
        asked = given, tuple(options.items()), site.height, site.width, site.dim, site.heads
        if asked not in self.tried:
            self.tried[asked] = self._found_at(site, options)
        return self.tried[asked]

    def why_images_mix(self, module: nn.Module, site: Site, options: Mapping[str, Value]) -> str:
        """Return why a built module is no layer of images first: they see each other, and with tokens first do not.

        Empty if it is one. With one image, tokens may come first unseen. Only calls show it, of a copy, so that the
        module stays as it is.
        """
        inside = self.inside(site, options)
        layouts = self.fit_at(site, options).layouts
        if self.layout_in(options) is not None or "BNC" not in layouts or inside.tokens > _MOST_WITH_IMAGES:
            return ""
        with torch.random.fork_rng(devices=[]):
            try:
                copy = deepcopy(module).eval()
                mixed = {layout: mixes_images(copy, inside, layout) for layout in ("BNC", "NBC")}
            except Exception:  # a layer that cannot be run here, as one for a GPU
                return ""
        # Where they see each other either way, as by one scale for all that is quantised, that tells nothing.
        return _MIXED + _TOKENS_FIRST if mixed["BNC"] and not mixed["NBC"] else ""

    def fit_without_data(self, site: Site, options: Mapping[str, Value]) -> Fit:
        """Return the same for a module that can be tried without data, and raise for others as well."""
        with torch.random.fork_rng(devices=[]):
            return self._first_that_runs(self.inside(site, options), options, with_data=False)

    def is_blind(self, site: Site, fit: Fit, options: Mapping[str, Value]) -> bool:
        """Return whether a module that has a window is given the tokens of a map in a row, and nothing of their form.

        It cannot cut the map itself then: all tokens are one window to it.
        """
        takes = inspect.signature(self.layer).parameters
        forward = getattr(self.layer, "forward", None)
        asks = inspect.signature(forward).parameters if forward else ()
        told = any(name in KNOWN and KNOWN[name].is_size for name in takes) or any(map(is_asked_for, asks))
        if told or list(fit.layouts) != ["BNC"]:
            return False
        set_here = {name: each.default for name, each in takes.items()} | dict(self.fixed) | dict(options)
        windows = [set_here[name] for name in takes if "window" in name and set_here[name] is not None]
        return bool(windows) and not any(_tokens_of(each) == self.inside(site, options).tokens for each in windows)

    def _found_at(self, site: Site, options: Mapping[str, Value]) -> Fit:
        if self.prefix_in(options) and self.layout_in(options) != "BNC":
            raise PluginError(f"prefix_tokens stand before tokens in a row: layout BNC, not {self.layout_in(options)}")
        if self.layout_in(options) == IN_BLOCKS and not self.windows_in(options):
            raise PluginError(f"layout {IN_BLOCKS} is of blocks of tokens: say how many are along a side, windows=7")
        with torch.random.fork_rng(devices=[]):
            try:
                return self._first_that_runs(site, options, with_data=False)
            except Exception:
                if site.tokens > _MOST_TOKENS:
                    raise
                return self._first_that_runs(site, options, with_data=True)

    def _first_that_runs(self, site: Site, options: Mapping[str, Value], *, with_data: bool) -> Fit:
        """Try it as it is, then with the sizes that it leaves at None, then with all that a site has."""
        sizes, everything = (left_at_none(self.layer, self.fixed, sizes=sizes) for sizes in (True, False))
        raised: Exception | None = None
        for needed in dict.fromkeys(((), sizes, everything)):
            try:
                return self._tried_at(site, options, needed, with_data=with_data)
            except Exception as error:  # a constructor may raise anything; the first says most
                raised = raised or error
        assert raised is not None
        raise raised

    def _tried_at(self, site: Site, options: Mapping[str, Value], needed: tuple[str, ...], *, with_data: bool) -> Fit:
        device = torch.device("cpu" if with_data else "meta")
        built = partial(self.build, site, options, needed)

        def made() -> nn.Module:
            model = built() if with_data else lazies.on_meta(built)
            model.eval()  # not taken for the model: somebody's may return nothing
            return model

        layout = self.layout_in(options)
        fitting = Fitting(model=made(), anew=made, site=site, device=device)
        fitting.of(FOUND_BY_TRYING if layout is None else (layout,), self.prefix(site, options, device))
        if fitting.accepted:
            return Fit(layouts=tuple(fitting.accepted), needed=needed, outputs=fitting.outputs)
        raise NoLayoutError(fitting.refusal(wants_one_more=not self.prefix_in(options)))


def _tokens_of(side: object) -> int:
    """Return the tokens of a window by its side or its two sides, 0 for what is neither."""
    sides = side if isinstance(side, tuple) else (side, side)
    return prod(sides) if all(type(each) is int for each in sides) else 0
