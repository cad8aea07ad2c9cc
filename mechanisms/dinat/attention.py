"""Attention to neighbours, dilated in every second layer, as in DiNAT."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from attnbench.mechanism import Site, option_defaults
from attnbench.mechanisms.nat.attention import Backend, NeighborhoodAttention

Auto: TypeAlias = Literal["auto"]


def dilation_of(site: Site, window: int, dilation: int | Auto) -> int:
    """Return the dilation of a site's layer: 1 in even layers, in odd ones the one given or the largest that fits."""
    if site.layer % 2 == 0 and dilation == "auto":
        return 1
    return max(1, min(site.height, site.width) // window) if dilation == "auto" else dilation


class DilatedNeighborhoodAttention(NeighborhoodAttention):
    """Attention to the k x k nearest tokens, in odd layers to as many spread over the whole map (DiNAT).

    Paper: Hassani and Shi, "Dilated Neighborhood Attention Transformer", 2022, https://arxiv.org/abs/2209.15001.

    Legend: N = H W tokens, C channels, h heads, d = C / h, k the side of a window, e the dilation; R(p) the k x k
    tokens nearest to p within the map, of those whose row and column leave the same rest as p's when divided by e.

        y = LayerNorm(x);  z_p = sum_{r in R(p)} softmax_r(q_p^T k_r / sqrt d + B((r - p) / e)) v_r;  out = z Wo

    Even layers of a stage have e = 1 and are ``nat``'s. Odd ones have the largest dilation whose window fits the map,
    floor(min(H, W) / k): 8, 4, 2, 1 in the stages of the paper's networks at 224 pixels. The window moves inward at the
    border, by steps of e.

    Cost per image: that of ``nat``, whatever the dilation: 4 N C^2 + 2 N k^2 C MACs.

    Differs from the paper:
        - The dilation follows the resolution. The paper's networks have it fixed by layer, and their code pads a map
          that has not e k tokens along a side; here its dilation is smaller, see ``adaptation``.
        - Some layers of the paper's largest stages have other dilations than 1 and the largest one.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.dinat import DilatedNeighborhoodAttention
        >>> layer = DilatedNeighborhoodAttention(Site(height=14, width=14, dim=64, heads=2, layer=1, depth=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> DilatedNeighborhoodAttention.macs(layer.site)
        Macs(projections=3211264, attention=1229312, other=0)
    """

    paper = "Hassani and Shi, 2022, arXiv:2209.15001"

    def __init__(
        self, site: Site, *, window: int = 7, dilation: int | Auto = "auto", backend: Backend = "lean"
    ) -> None:
        """Build the layer, initialised as DiNAT is.

        Args:
            site: where the layer stands; the map may have any size.
            window: k, tokens along a side of a window, odd.
            dilation: e; ``auto`` for 1 in even layers and the largest that fits in odd ones.
            backend: as in ``nat``; same output.

        Raises:
            ValueError: the window is not odd, or the dilation is smaller than 1.
        """
        super().__init__(site, window=window, dilation=dilation_of(site, max(1, window), dilation), backend=backend)

    @classmethod
    def _chosen(cls, _site: Site, options: dict[str, Any]) -> tuple[int, int]:
        chosen = option_defaults(cls) | options
        return chosen["window"], dilation_of(_site, max(1, chosen["window"]), chosen["dilation"])
