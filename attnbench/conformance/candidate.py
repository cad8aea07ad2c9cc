"""A mechanism under check: the sites it is checked at, its layers there, and maps for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from attnbench.conformance.finding import NotClaimedError
from attnbench.mechanism import Map, Mechanism, Site
from attnbench.models.backbone import LayersOf, Stack, down
from attnbench.models.values import InputValues, draw, seed_all

_MAPS = {"square": (14, 14), "wide": (7, 21), "odd": (9, 5), "one token": (1, 1)}
SITES = (
    *(
        Site(height=height, width=width, dim=24, heads=3, stride=stride)
        for height, width in _MAPS.values()
        for stride in (16, 4, 8, 32)
    ),
    Site(height=14, width=14, dim=24, heads=3, stride=8, layer=1, depth=2),
)
"""Square, wide, odd and one-token maps, in each of the four stages of a pyramid, and a second layer of a stage."""
_STIR = 0.02
"""Deviation of what is added to every parameter, so that none that starts at zero hides what it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A mechanism with its options, and where it is checked."""

    mechanism: type[Mechanism]
    options: Mapping[str, Any]
    sites: Sequence[Site] = SITES
    """The first is where one site will do."""
    changes: Sequence[str] = ()
    """What loading it has changed for everyone in the process."""

    @property
    def base(self) -> Site:
        """The first site that the mechanism supports."""
        return next(site for site in self.sites if self.why_unsupported(site) is None)

    @property
    def supported(self) -> list[Site]:
        """Every site that the mechanism supports."""
        return [site for site in self.sites if self.why_unsupported(site) is None]

    def near_base(self, *, height: int, width: int) -> Site | None:
        """Return the first site with another map, None if the mechanism does not support it."""
        site = replace(self.base, height=height, width=width)
        return site if self.why_unsupported(site) is None else None

    def why_unsupported(self, site: Site) -> str | None:
        """Ask the mechanism."""
        return self.mechanism.why_unsupported(site, **self.options)

    def layer(self, site: Site, *, seed: int = 0, **options: Any) -> Mechanism:  # noqa: ANN401
        """Build a layer in float64, in evaluation mode, with every parameter off its initial value.

        Layers of one seed are equal.
        """
        seed_all(seed)
        layer = self.mechanism(site, **{**self.options, **options}).double().eval()
        # Without parameters that learn, no call of a layer that only infers asks for a backward pass.
        return stir(layer).requires_grad_(self.mechanism.trains)

    def single(self) -> Mechanism:
        """Build a layer in float32 at the first site, in evaluation mode."""
        return self.layer(self.base).float()

    def stack(self, site: Site, depth: int) -> Stack:
        """Build the layers of a stage of a given depth, in their initial state."""
        torch.manual_seed(0)
        return Stack([self.layers(each) for each in self.placed(site, depth)])

    @property
    def layers(self) -> LayersOf:
        """What builds its layers as a run does."""
        return LayersOf(mechanism=self.mechanism, options=self.options)

    def placed(self, site: Site, depth: int) -> list[Site]:
        """Return the sites of the layers of a stage of a given depth, each at the map that those before it leave."""
        return down([replace(site, layer=index, depth=depth) for index in range(depth)], self.layers.shrinks)


def require_trains(candidate: Candidate) -> None:
    """Raise NotClaimedError if a mechanism only infers."""
    if not candidate.mechanism.trains:
        raise NotClaimedError("it only infers: trains is False")


def stir(layer: Mechanism) -> Mechanism:
    """Add a little noise to every parameter that is learned."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in layer.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_(_STIR * noise.to(parameter.dtype))
    return layer


def image(site: Site, *, batch: int = 2, seed: int = 1) -> Map:
    """Return maps of normal noise in float64, the same at each call."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, site.height, site.width, site.dim, generator=generator, dtype=torch.float64)


def new_values(x: Map, calls: int) -> Iterator[tuple[int, int]]:
    """Give a map new values and every generator a new seed, call after call, as a run does.

    Yields:
        Which call it is, from 1, and what values and seed are drawn by.
    """
    values = InputValues(x, channels=-1, seed=0)
    for call in range(1, calls + 1):
        number = draw()
        values.fill(number)
        seed_all(number)
        yield call, number


def written(site: Site) -> str:
    """Return a site as Python, what is as by default left out."""
    given = [f for f in fields(site) if getattr(site, f.name) != f.default]
    return f"Site({', '.join(f'{f.name}={getattr(site, f.name)!r}' for f in given)})"


def distance(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the largest value expected."""
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-30))
