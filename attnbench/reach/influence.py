"""The influence of each pixel on one token, and what there is to say of it in numbers. Imports no torch.

Luo et al., NeurIPS 2016, arXiv:1701.04128: the gradient of a token's output over the input, its size averaged over
inputs. How large a part of the pixels holds a share of it is as in Ding et al., CVPR 2022, arXiv:2203.06717, of any
shape instead of a rectangle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

ABOVE = 1 - 0.9545
"""Of the largest influence: what is above counts as the effective receptive field of Luo et al."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """How much each pixel of an image influences the token at its centre.

    Example:
        >>> flat = Influence(sizes=np.ones((4, 8)), row=2, column=4, stride=1)
        >>> flat.area_above, flat.area_of(0.5), flat.beyond(4)
        (1.0, 0.5, 0.5)
    """

    sizes: Float64[ndarray, "height width"]
    """Mean sizes of the gradient, not all 0."""
    row: float
    """Where the middle of the token lies, in pixels from the top left corner."""
    column: float
    stride: int
    """Pixels a token, along a side."""

    @property
    def shares(self) -> Float64[ndarray, "height width"]:
        """The influence of each pixel, as a part of all."""
        found: Float64[ndarray, "height width"] = self.sizes / self.sizes.sum()
        return found

    @property
    def area_above(self) -> float:
        """The part of the pixels whose influence is above 4.55 % of the largest."""
        return float((self.sizes > ABOVE * self.sizes.max()).mean())

    def area_of(self, share: float) -> float:
        """Return the smallest part of the pixels that holds a share of the influence."""
        ordered = np.sort(self.shares, axis=None)[::-1]
        held = np.cumsum(ordered)
        return float((np.searchsorted(held, share * held[-1] * (1 - 1e-12)) + 1) / held.size)

    def beyond(self, side: float) -> float:
        """Return the share of the influence that lies beyond a square window around the token.

        Args:
            side: of the window, in pixels.
        """
        down, right = self._distances()
        within = (np.abs(down) <= side / 2) & (np.abs(right) <= side / 2)
        return float(self.shares[~within].sum())

    @property
    def elongation(self) -> float:
        """How many times as far the influence spreads in its longest direction as across it, 1 if in all alike.

        The root of the ratio of the two eigenvalues of its second moments about its own mean; infinite for a line.
        """
        down, right = self._distances()
        down, right = down - float((self.shares * down).sum()), right - float((self.shares * right).sum())
        moments = [float((self.shares * a * b).sum()) for a, b in ((down, down), (right, right), (down, right))]
        trace, product = moments[0] + moments[1], moments[0] * moments[1] - moments[2] ** 2
        root = math.sqrt(max(0.0, trace**2 / 4 - product))
        least = max(0.0, trace / 2 - root)
        return math.sqrt((trace / 2 + root) / least) if least > 0 else math.inf

    @property
    def axial(self) -> float:
        """The share of the influence beyond the token's own pixels that lies nearer to its row or column than diagonal.

        A half if it is alike in all directions, more for a cross; 0 where nothing lies beyond.
        """
        down, right = self._distances()
        outside = np.maximum(np.abs(down), np.abs(right)) > self.stride / 2
        angle = np.arctan2(np.abs(down), np.abs(right))
        near = np.abs(angle - math.pi / 4) > math.pi / 8
        whole = float(self.shares[outside].sum())
        return float(self.shares[outside & near].sum()) / whole if whole > 0 else 0.0

    def _distances(self) -> tuple[Float64[ndarray, "height one"], Float64[ndarray, "one width"]]:
        """Return how far the middle of each row and column lies below and to the right of the token's."""
        height, width = self.sizes.shape
        down = np.arange(height)[:, None] + 0.5 - self.row
        right = np.arange(width)[None] + 0.5 - self.column
        return down, right
