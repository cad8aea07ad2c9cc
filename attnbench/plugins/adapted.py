"""A module of somebody's as a mechanism: built, called and refused as it says itself, and what was assumed of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from attnbench.errors import PluginError
from attnbench.mechanism import Map, Mechanism, Site
from attnbench.plugins import lazies
from attnbench.plugins.advice import Adviser
from attnbench.plugins.arguments import SiteError, of_forward
from attnbench.plugins.blocks import within_rows
from attnbench.plugins.candidates import side_of_windows
from attnbench.plugins.fitting import NoLayoutError, described, first_of
from attnbench.plugins.layout import IN_BLOCKS, Layout, blocks, cut, to_map, to_module, together
from attnbench.plugins.names import KNOWN
from attnbench.plugins.recipe import Fit, Recipe
from attnbench.record import Value

USUAL_SITE = Site(height=14, width=14, dim=96, heads=3)
ANOTHER_SITE = Site(height=7, width=7, dim=384, heads=12)
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
        self.windows = self.recipe.windows_in(options)
        self.further = of_forward(self.layer, self.recipe.inside(site, options))
        lazies.shape(self, torch.zeros(1, site.height, site.width, site.dim))

    def forward(self, x: Map) -> Map:
        """Return what the module makes of the map; of several outputs, the first."""
        image = cut(x, self.windows) if self.windows else x
        y = first_of(self.layer(self._given(image, len(x)), **self.further))
        mapped = to_map(y, self.layout, image.shape, prefix_tokens=self.prefix_tokens)
        return together(mapped, x.shape) if self.windows else mapped

    def _given(self, image: Map, batch: int) -> Tensor:
        """Return what the module is called with: maps, or windows of so many of them, in its layout."""
        if self.layout == IN_BLOCKS:
            return blocks(image, batch)
        return to_module(image, self.layout, self.prefix)

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
            recipe=cls.recipe, site=USUAL_SITE, options=options, named=cls.named, elsewhere=[ANOTHER_SITE]
        )
        return adviser.that_works(missing)

    @classmethod
    def adaptation(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say what was assumed of the module because it says nothing of it itself, None if nothing was."""
        fit, declared = cls.recipe.fit_at(site, options), cls.recipe.layout_in(options)
        said, side = _assumed(fit, declared), cls.recipe.windows_in(options)
        if cls.recipe.is_blind(site, fit, options):
            said.append("all tokens are one window to it, which has a window and is not told the map's form")
        if side:
            which = "blocks of tokens" if declared == IN_BLOCKS else "windows"
            said.append(f"the map is cut into {which} of {side}x{side} for it, within the timed call")
        return "; ".join(said) or None

    def why_no_layer_of_maps(self, site: Site, options: Mapping[str, Value]) -> str:
        """Return why the module is no layer of maps by what its calls show; empty where it may be one."""
        return self.recipe.why_images_mix(self.layer, site, options) or self.why_of_blocks(site, options)

    def why_of_blocks(self, site: Site, options: Mapping[str, Value]) -> str:
        """Return why the module is taken for one over blocks of tokens; empty for others, and where its layout is said.

        The rows of a map would be its blocks, and what is measured would be another attention.
        """
        if not (self.taken_for_maps(site, options) and within_rows(self, site)):
            return ""
        side = side_of_windows(site)
        return (
            f"{_ROWS}: if it is made for blocks of tokens, (B, blocks, tokens, C), write :windows={side}:layout="
            f'{IN_BLOCKS} behind its name, or adapt(..., windows={side}, layout="{IN_BLOCKS}"); if it is meant to '
            f"attend within rows, :layout=BHWC"
        )

    def rows_said(self, site: Site, options: Mapping[str, Value]) -> str:
        """Return what there is to say of a module that mixes tokens within rows of the map alone, which calls show."""
        declared = self.recipe.layout_in(options) == "BHWC" and not self.windows
        return _ROWS if declared and within_rows(self, site) else ""

    @classmethod
    def taken_for_maps(cls, site: Site, options: Mapping[str, Value]) -> bool:
        """Return whether the module is called with maps as they are, because it takes them and says nothing itself."""
        said = cls.recipe.layout_in(options) or cls.recipe.windows_in(options)
        return not said and cls.recipe.fit_at(site, options).layouts[0] == "BHWC"

    def overwrites(self, x: Map) -> bool:
        """Return whether the module writes into what it is called with: into the map, or into the copy in its layout.

        A copy of the module is called, so that what it keeps of its calls stays as it is.
        """
        try:
            module = deepcopy(self.layer).eval()
            given = self._given(cut(x, self.windows) if self.windows else x, len(x)).detach().clone()
            before = given.clone()
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                module(given, **self.further)
        except Exception:  # a layer that cannot be copied, or run here
            return False
        return not torch.equal(given, before)


_ROWS = "mixes tokens within a row of the map and with no other row"


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
