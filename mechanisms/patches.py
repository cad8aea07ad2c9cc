"""Convolutions of patches that touch, on maps that keep channels last in memory. Imports no timm."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn


class Patches(nn.Conv2d):
    """The convolution as one matrix product.

    oneDNN 3 would copy the weight on every call for such a map, and take twice the time in the backward pass.
    """

    def __init__(self, in_dim: int, dim: int, side: int) -> None:
        super().__init__(in_dim, dim, side, side)

    def forward(self, x: Float[Tensor, "batch in_dim height width"]) -> Float[Tensor, "batch dim rows columns"]:
        """Return what the convolution returns, channels last in memory; patches must divide the map."""
        (batch, channels, height, width), side = x.shape, self.kernel_size[0]
        patches = x.permute(0, 2, 3, 1).reshape(batch, height // side, side, width // side, side, channels)
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(patches.transpose(2, 3).flatten(3), weight, self.bias).permute(0, 3, 1, 2)
