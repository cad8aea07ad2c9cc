"""The norm and the 1 x 1 convolution of HAT-Net on maps that keep channels last.

Parameters have the names and shapes of the channels-first modules, so that published weights load as they are.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Map


class MapNorm(nn.GroupNorm):
    """Normalises each image over all its tokens and channels at once, then scales and shifts each channel."""

    def __init__(self, dim: int) -> None:
        super().__init__(1, dim, eps=1e-6)

    def forward(self, x: Map) -> Map:
        """Return the normalised map, (B, H, W, C)."""
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Pointwise(nn.Conv2d):
    """A 1 x 1 convolution with a bias: the same linear map for every token."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__(in_dim, out_dim, 1)

    def reset_parameters(self) -> None:
        """Draw the weights as those of the baselines are drawn."""
        nn.init.trunc_normal_(self.weight, std=0.02)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, x: Float[Tensor, "*tokens in_dim"]) -> Float[Tensor, "*tokens out_dim"]:
        """Return the projected tokens, (..., in_dim) to (..., out_dim)."""
        return F.linear(x, self.weight.flatten(1), self.bias)
