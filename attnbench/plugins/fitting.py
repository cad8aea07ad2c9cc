"""A module called with a map in layout after layout: what it takes, and what it said to the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from attnbench import raised
from attnbench.mechanism import Site
from attnbench.plugins import lazies
from attnbench.plugins.arguments import of_forward
from attnbench.plugins.layout import Layout, to_map, to_module


class NoLayoutError(Exception):
    """A module keeps the shape of a map in no layout that was tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """A module that is called with a map in layout after layout."""

    model: nn.Module
    anew: Callable[[], nn.Module]
    """Makes another of it, for each call of one that a call gives its shapes."""
    site: Site
    device: torch.device
    accepted: dict[Layout, int] = field(default_factory=dict)
    """Layouts in which the shape is kept, with the number of outputs."""
    said: dict[str, str] = field(default_factory=dict)
    """What it raised or returned in others."""

    @property
    def outputs(self) -> int:
        """How many outputs there are."""
        return max(self.accepted.values(), default=1)

    def of(self, layouts: Sequence[Layout], prefix: Tensor | None) -> None:
        """Call it in some layouts."""
        site = self.site
        for layout in layouts:
            x = to_module(torch.zeros(1, site.height, site.width, site.dim, device=self.device), layout, prefix)
            try:
                with torch.no_grad():
                    model = self.anew() if lazies.has_lazies(self.model) else self.model
                    y = model(x, **of_forward(model, site))
            except Exception as error:
                self.said[layout] = described(error)
                continue
            first = first_of(y)
            if isinstance(first, Tensor) and first.shape == x.shape:
                self.accepted[layout] = len(y) if isinstance(y, tuple | list) else 1
            else:
                self.said[layout] = f"{_shape(first)} for {tuple(x.shape)}"

    def refusal(self, *, wants_one_more: bool) -> str:
        """Say what the module said to each layout, and what that hints at.

        Args:
            wants_one_more: whether to try it with a token before those of the map.
        """
        said = dict(self.said)
        alike = set(said.values())
        each = "; ".join(f"{layout}: {text}" for layout, text in said.items())
        return f"it keeps the shape of a map in no layout: {each if len(alike) > 1 else alike.pop()}" + (
            self._hint(said.get("BNC", "")) if wants_one_more else ""
        )

    def _hint(self, said: str) -> str:
        if said.startswith(f"(1, 1, {self.site.dim}) for"):
            return _ONE_FOR_ALL
        self.of(["BNC"], torch.full((1, 1, self.site.dim), 0.02, device=self.device))
        return _ONE_MORE if self.accepted else ""


_ONE_FOR_ALL = (
    "; one token comes back for all of them, as of a class attention: that is no layer that a map goes through, "
    "measure the network that it is from, --networks"
)
_ONE_MORE = (
    "; with one token before those of the map it does: is that a class token? write :prefix_tokens=1 behind its name, "
    "say prefix_tokens = 1 in the class, or adapt(..., prefix_tokens=1)"
)


@torch.no_grad()
def mixes_images(model: nn.Module, site: Site, layout: Layout) -> bool:
    """Return whether what comes back for an image depends on the other one; False for a layer that draws numbers."""
    made = torch.randn(3, 1, site.height, site.width, site.dim)
    image, one, other = made.to(next(model.parameters(), made)).unbind()

    def of_the_first(beside: Tensor) -> Tensor:
        x = to_module(torch.cat([image, beside]), layout)
        y: Tensor = first_of(model(x, **of_forward(model, site)))
        return to_map(y, layout, torch.Size([2, site.height, site.width, site.dim]))[0]

    alone, rounding = of_the_first(one), 1e-5 if image.dtype.itemsize >= made.dtype.itemsize else 1e-2
    changed = not torch.allclose(alone, of_the_first(other), atol=rounding)
    return bool(torch.equal(alone, of_the_first(one)) and changed)


def first_of(y: Any) -> Any:  # noqa: ANN401 - of whatever a stranger's layer returns
    """Return the first of several outputs, or the one that there is."""
    return y[0] if isinstance(y, tuple | list) and y else y


def described(error: Exception) -> str:
    """Return an exception in one line: with the line of the layer that raised it where it says little by itself."""
    text = str(error).strip().partition("\n")[0][:300]
    where = raised.place_of(error) if not text or "NoneType" in text else ""
    return ": ".join(filter(None, [type(error).__name__, text])) + (f", at {where}" if where else "")


def _shape(y: object) -> str:
    return str(tuple(y.shape)) if isinstance(y, Tensor) else f"a {type(y).__name__}"
