"""Focal modulation: contexts of growing reach, gated and multiplied with the query, as in FocalNet."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from attnbench.mechanism import Macs, Map, Mechanism, Site

FEWEST_SUMMED = 3
"""Elementwise products whose sum counts as multiply-adds; two are a gate."""
GROWTH = 2
"""By how much the side of a convolution grows from level to level, the authors' focal factor."""


def sides(levels: int, window: int) -> list[int]:
    """Return the side of each level's convolution.

    Raises:
        ValueError: there is no level, or the window is not odd.
    """
    if levels < 1:
        raise ValueError(f"levels must be at least 1, got {levels}")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window must be odd and at least 1, got {window}")
    return [window + GROWTH * level for level in range(levels)]


class FocalModulation(Mechanism):
    """Contexts of growing reach, gated and multiplied with the query: no scores and no heads (FocalNet).

    Paper: Yang et al., "Focal Modulation Networks", NeurIPS 2022, https://arxiv.org/abs/2203.11926.

    Legend: N = H W tokens, C channels, L levels, k_l = window + 2 (l - 1) the side of the l-th depthwise convolution.

        y = LayerNorm(x);  Q, Z_0, G = y Wq, y Wz, y Wg, with L + 1 gates G a token
        Z_l = GELU(DWConv_l(Z_{l-1})) for l = 1 ... L;  Z_{L+1} = GELU(mean of Z_L over the map)
        M = (sum_l G_l * Z_l) Wm;  out = (Q * M) Wo

    Every token gets what the convolutions see around it and the mean of the whole map. The heads of a site mean
    nothing here, and are asked to divide the channels as everywhere.

    Cost per image: N C (4 C + L + 1) MACs of projections, N C sum_l k_l^2 of convolutions, and N C (L + 1) of the gated
    sum, which counts from three products on: it is what the layer has in the place of attention products. Beside the
    map the layer holds L contexts of its size.

    Differs from the paper:
        - The default is the authors' small receptive field, two levels from 3 x 3 on; ``levels=3`` is the large one.
        - The norm of the product and the division by L + 1, which the authors' largest networks have, are left out.
        - The layer norm before it belongs to the mechanism. There is no dropout.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.focal import FocalModulation
        >>> layer = FocalModulation(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> FocalModulation.macs(layer.site)
        Macs(projections=3248896, attention=37632, other=426496)
    """

    paper = "Yang et al., NeurIPS 2022, arXiv:2203.11926"
    reach = "global"

    def __init__(self, site: Site, *, levels: int = 2, window: int = 3) -> None:
        """Build the layer, initialised as FocalNet is.

        Args:
            site: where the layer stands; the map may have any size.
            levels: L, convolutions one after the other.
            window: side of the first convolution, odd; each later one is larger by 2.

        Raises:
            ValueError: there is no level, or the window is not odd.
        """
        super().__init__(site)
        self.levels = levels
        convolved = sides(levels, window)
        self.norm = nn.LayerNorm(site.dim)
        self.project_in = nn.Linear(site.dim, 2 * site.dim + levels + 1)
        self.contexts = nn.ModuleList(
            nn.Conv2d(site.dim, site.dim, side, padding=side // 2, groups=site.dim, bias=False) for side in convolved
        )
        self.modulator = nn.Linear(site.dim, site.dim)
        self.proj = nn.Linear(site.dim, site.dim)
        for linear in (self.project_in, self.modulator, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Map) -> Map:
        """Return the modulated map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        dim = self.site.dim
        query, context, gates = torch.split(self.project_in(self.norm(x)), [dim, dim, self.levels + 1], -1)
        gathered: Map | None = None
        for level, convolve in enumerate(self.contexts):
            context = F.gelu(convolve(context.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
            gated = context * gates[..., level : level + 1]
            gathered = gated if gathered is None else gathered + gated
        assert gathered is not None
        gathered = gathered + F.gelu(context.mean((1, 2), keepdim=True)) * gates[..., self.levels :]
        modulated: Map = self.proj(query * self.modulator(gathered))
        return modulated

    @classmethod
    def why_unsupported(cls, site: Site, *, levels: int = 2, window: int = 3, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: there is no level, or the window is not odd.
        """
        sides(levels, window)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, *, levels: int = 2, window: int = 3, **options: Any) -> Macs:  # noqa: ANN401, ARG003
        """Return N C (4 C + L + 1) of projections and N C sum k^2 of convolutions, and N C (L + 1) of the gated sum."""
        per_channel = site.tokens * site.dim
        convolved = sum(side**2 for side in sides(levels, window))
        gates = levels + 1
        summed = gates >= FEWEST_SUMMED and site.tokens > 1  # the gate of one token is a number that scales
        return Macs(
            projections=per_channel * (4 * site.dim + gates),
            attention=per_channel * gates if summed else 0,
            other=per_channel * convolved,
        )
