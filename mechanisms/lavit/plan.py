"""What the options of less attention come to at one site, and what the layer built there costs. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from attnbench.mechanism import Macs, Site

Auto: TypeAlias = Literal["auto"]
Backend: TypeAlias = Literal["sdpa", "unfused"]
Switch: TypeAlias = Literal["on", "off"]
Grid: TypeAlias = tuple[int, int]
"""Rows and columns."""

_PUBLISHED_REDUCTION = 8
_KEYS_A_SIDE = 4
"""Keys a side that the automatic reduction leaves on a small map."""
COEFFICIENT = 0.004
"""What the bounded loss over N (N - 1) is multiplied by before it is added to a cross-entropy.

The largest of those tried that ``shift`` is learned with, see ``docs/figures.md``: what has to look elsewhere is kept
from it by a loss for looking at itself.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The layer at one site, every option settled."""

    site: Site
    vanilla: int
    """Layers at the start of the stage that compute scores of their own."""
    reduction: int
    """Tokens along a side that one key stands for."""
    backend: Backend
    dp_coefficient: float
    """What the layer's diagonality-preserving loss is multiplied by where it is trained, 0 for none."""
    before: Plan | None
    """The layer whose scores are this one's residual: the last of the stage before, for the first of a stage."""

    @classmethod
    def of(
        cls,
        site: Site,
        *,
        vanilla: int | Auto = "auto",
        key_reduction: int | Auto = "auto",
        backend: Backend = "sdpa",
        dp_loss: Switch | float = "on",
    ) -> Plan:
        """Settle the options at a site.

        Raises:
            ValueError: ``vanilla`` or ``key_reduction`` is smaller than 1, or ``dp_loss`` is negative or no number.
        """
        for name, value in (("vanilla", vanilla), ("key_reduction", key_reduction)):
            if value != "auto" and value < 1:
                raise ValueError(f"{name} must be 'auto' or at least 1, got {value}")
        coefficient = {"on": COEFFICIENT, "off": 0.0}[dp_loss] if isinstance(dp_loss, str) else float(dp_loss)
        if not (math.isfinite(coefficient) and coefficient >= 0):
            raise ValueError(f"dp_loss must be 'on', 'off' or a coefficient of at least 0, got {dp_loss}")
        before = None
        if site.layer == 0 and site.before is not None:
            before = cls.of(site.before, vanilla=vanilla, key_reduction=key_reduction, backend=backend)
        return cls(
            site=site,
            vanilla=_auto_vanilla(site) if vanilla == "auto" else vanilla,
            reduction=_auto_reduction(site) if key_reduction == "auto" else key_reduction,
            backend=backend,
            dp_coefficient=coefficient,
            before=before,
        )

    @property
    def reuses(self) -> bool:
        """Whether the layer transforms the scores handed to it (LA) instead of computing its own (VA)."""
        return self.site.layer >= self.vanilla

    @property
    def fused(self) -> bool:
        """Whether SDPA may keep the scores to itself: the next layer exists in this stage and computes its own."""
        return self.backend == "sdpa" and self.site.layer + 1 < min(self.vanilla, self.site.depth)

    @property
    def square(self) -> bool:
        """Whether scores have a diagonal: as many keys as queries, and the same tokens."""
        return self.reduction == 1

    @property
    def query_grid(self) -> Grid:
        """The map."""
        return self.site.height, self.site.width

    @property
    def key_grid(self) -> Grid:
        """The map of keys and values, sides rounded up."""
        return -(-self.site.height // self.reduction), -(-self.site.width // self.reduction)

    @property
    def keys(self) -> int:
        """n_k; n_q is ``site.tokens``."""
        rows, columns = self.key_grid
        return rows * columns

    @property
    def adaptation(self) -> str | None:
        """What is done that PVT would not do at this site, None if nothing."""
        done = []
        published = max(1, min(_PUBLISHED_REDUCTION, 32 // self.site.stride))
        if self.reduction != published:
            done.append(f"keys reduced by {self.reduction} a side, not {published}")
        if self.site.height % self.reduction or self.site.width % self.reduction:
            rows, columns = (side * self.reduction for side in self.key_grid)
            done.append(f"map padded to {rows} x {columns} before the key reduction")
        return "; ".join(done) or None

    @property
    def macs(self) -> Macs:
        """Multiply-adds of the layer for one image, by closed form."""
        queries, keys, dim, heads = self.site.tokens, self.keys, self.site.dim, self.site.heads
        mixing = heads * (queries * keys**2 + queries**2 * keys)
        reducing = keys * (self.reduction * dim) ** 2 if self.reduction > 1 else 0
        if self.reuses:
            return Macs(projections=(queries + keys) * dim**2, attention=queries * keys * dim, other=reducing + mixing)
        carrying = 0
        if self.before is not None:
            merged = _area(window(self.before.query_grid, self.query_grid)) * _area(
                window(self.before.key_grid, self.key_grid)
            )
            carrying = self.before.site.heads * queries * keys * (merged + heads)
        return Macs(
            projections=2 * (queries + keys) * dim**2,
            attention=2 * queries * keys * dim,
            other=reducing + carrying,
        )


def window(old: Grid, new: Grid) -> Grid:
    """Return how many old tokens, down and across, one new token stands for, rounded up."""
    return -(-old[0] // new[0]), -(-old[1] // new[1])


def _area(grid: Grid) -> int:
    return grid[0] * grid[1]


def _auto_vanilla(site: Site) -> int:
    return site.depth if site.before is None and site.stride <= 4 else 1


def _auto_reduction(site: Site) -> int:
    return max(1, min(_PUBLISHED_REDUCTION, 32 // site.stride, min(site.height, site.width) // _KEYS_A_SIDE))
