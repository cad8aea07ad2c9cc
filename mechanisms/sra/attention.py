"""Spatial-reduction attention: every token to a map that a strided convolution has shrunk, as in PVT."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from torch import nn

from attnbench.mechanism import Macs, Site
from attnbench.mechanisms.sra.reduced import Backend, ReducedAttention, reduced_macs
from attnbench.models.patches import PatchReduction

Reduction: TypeAlias = int | Literal["auto"]

_LARGEST = 8
"""R of PVT's first stage."""


def reduction_at(site: Site, reduction: Reduction = "auto") -> int:
    """Return R; ``auto`` is that of the PVT stage with the site's stride.

    Raises:
        ValueError: the reduction is smaller than 1.
    """
    if reduction == "auto":
        return max(1, min(_LARGEST, 32 // site.stride))
    if reduction < 1:
        raise ValueError(f"reduction must be at least 1 or 'auto', got {reduction}")
    return reduction


class SpatialReductionAttention(ReducedAttention):
    """Attention of every token to the map shrunk by a strided convolution (SRA of PVT).

    Paper: Wang et al., "Pyramid Vision Transformer: A Versatile Backbone for Dense Prediction without Convolutions",
    ICCV 2021, https://arxiv.org/abs/2102.12122.

    Legend: N = H W tokens, C channels, h heads, d = C / h, R the reduction, M = ceil(H / R) ceil(W / R) keys.

        y = LayerNorm(x);  r = LayerNorm(Conv(y)), the convolution R x R of stride R;  r = y where R is 1
        Q = y Wq;  K, V = r Wkv;  z = softmax(Q K^T / sqrt d) V;  out = z Wo

    R is 8, 4, 2, 1 at strides 4, 8, 16, 32, so that the keys always come from a map of stride 32.

    Cost per image: 2 (N + M) C^2 MACs of projections, 2 N M C of attention products and, if R > 1, M R^2 C^2 of the
    convolution: about N C^2, whatever R. The scores are h N M elements, which ``unfused`` holds and ``sdpa`` does not.
    The attention products grow with N^2 / R^2, so at a given stage still with the square of the map.

    Differs from the paper:
        - A map that does not divide by R is padded with zeros after the norm, bottom right, so that every token is in a
          key. In the authors' code and timm the convolution leaves out the rows and columns that remain, and cannot run
          on a map smaller than R. Here such a map gives one key, and every token of it gets the same output.
        - There is no class token, which PVT has in its last stage, and no dropout. Position embeddings are left to the
          network around the layer.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.sra import SpatialReductionAttention
        >>> layer = SpatialReductionAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> SpatialReductionAttention.macs(layer.site)
        Macs(projections=2007040, attention=1229312, other=802816)
    """

    paper = "Wang et al., ICCV 2021, arXiv:2102.12122"

    def __init__(self, site: Site, *, reduction: Reduction = "auto", backend: Backend = "sdpa") -> None:
        """Build the layer, initialised as PVT is.

        Args:
            site: where the layer stands; the map may have any size.
            reduction: R, tokens along a side of the patch that one key stands for; ``auto`` follows the stride.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for the three steps; same output.

        Raises:
            ValueError: the reduction is smaller than 1.
        """
        side = reduction_at(site, reduction)
        reduce = PatchReduction(site.dim, side) if side > 1 else nn.Flatten(1, 2)
        super().__init__(site, reduce=reduce, backend=backend)

    @classmethod
    def why_unsupported(cls, site: Site, *, reduction: Reduction = "auto", **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: the reduction is smaller than 1.
        """
        reduction_at(site, reduction)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, *, reduction: Reduction = "auto", **options: Any) -> Macs:  # noqa: ANN401, ARG003
        """Return 2 (N + M) C^2 + 2 N M C, and M R^2 C^2 if R > 1."""
        side = reduction_at(site, reduction)
        keys = -(-site.height // side) * -(-site.width // side)
        return reduced_macs(site, keys=keys, convolution=keys * (side * site.dim) ** 2 if side > 1 else 0)

    @classmethod
    def adaptation(cls, site: Site, *, reduction: Reduction = "auto", **options: Any) -> str | None:  # noqa: ANN401, ARG003
        """Say what the map is padded to, None where R divides it."""
        side = reduction_at(site, reduction)
        height, width = (length + -length % side for length in (site.height, site.width))
        if (height, width) == (site.height, site.width):
            return None
        return f"padded {site.height}x{site.width} to {height}x{width} (reduction {side})"
