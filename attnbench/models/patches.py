"""Patches that touch, on maps that keep channels last in memory: one vector for each. Imports no timm."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Map


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


class PatchReduction(nn.Module):
    """One token for each R x R patch of a map: a convolution of stride R and a LayerNorm, as PVT's (arXiv:2102.12122).

    A map that does not divide is padded with zeros, bottom right, so that every token is in a patch.
    """

    def __init__(self, dim: int, reduction: int, *, eps: float = 1e-5) -> None:
        """Build convolution and norm, both initialised as torch does, which PVT leaves as it is.

        Args:
            dim: channels, of the map and of the tokens.
            reduction: R.
            eps: of the norm.
        """
        super().__init__()
        self.reduction = reduction
        self.conv = Patches(dim, dim, reduction)
        self.norm = nn.LayerNorm(dim, eps=eps)

    def forward(self, y: Map) -> Float[Tensor, "batch keys dim"]:
        """Return the tokens of the reduced map, (B, H, W, C) to (B, ceil(H / R) ceil(W / R), C)."""
        below, right = (-side % self.reduction for side in y.shape[1:3])
        if below or right:  # padding by nothing would copy the map
            y = F.pad(y, (0, 0, 0, right, 0, below))
        reduced: Float[Tensor, "batch keys dim"] = self.norm(
            self.conv(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).flatten(1, 2)
        )
        return reduced
