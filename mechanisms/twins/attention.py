"""Attention within windows and attention to a reduced map, layer about, as in Twins-SVT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site
from attnbench.mechanisms.sra.attention import Reduction, reduction_at
from attnbench.mechanisms.sra.reduced import Backend, reduced_macs, unfused
from attnbench.models.patches import PatchReduction

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


class LocallyGrouped(nn.Module):
    """Attention within windows, without norm and output projection (LSA)."""

    def __init__(self, site: Site, *, window: int, attend: Attend) -> None:
        super().__init__()
        self.heads, self.head_dim = site.heads, site.head_dim
        self.window = window
        self.attend = attend
        self.qkv = nn.Linear(site.dim, 3 * site.dim)

    def forward(self, y: Map) -> Map:
        """Return what each token of a normed map gathers from its window."""
        batch, height, width, dim = y.shape
        side, area = self.window, self.window**2
        below, right = -height % side, -width % side
        if below or right:
            y = F.pad(y, (0, 0, 0, right, 0, below))
        cut = (batch, (height + below) // side, side, (width + right) // side, side, dim)
        tokens = y.view(cut).transpose(2, 3).reshape(-1, area, dim)
        packed = self.qkv(tokens).view(-1, area, 3, self.heads, self.head_dim)
        z = self.attend(*packed.permute(2, 0, 3, 1, 4).unbind()).transpose(1, 2)
        z = z.reshape(batch, cut[1], cut[3], side, side, dim).transpose(2, 3).reshape(y.shape)
        return z[:, :height, :width].contiguous()


class GloballySubsampled(nn.Module):
    """Attention of every token to the reduced map, without norm and output projection (GSA)."""

    def __init__(self, site: Site, *, reduction: int, attend: Attend) -> None:
        super().__init__()
        self.heads, self.head_dim = site.heads, site.head_dim
        self.attend = attend
        self.q = nn.Linear(site.dim, site.dim)
        self.kv = nn.Linear(site.dim, 2 * site.dim)
        self.reduce: nn.Module = nn.Flatten(1, 2)
        if reduction > 1:
            self.reduce = PatchReduction(site.dim, reduction)

    def forward(self, y: Map) -> Map:
        """Return what each token of a normed map gathers from the reduced map."""
        q = self.q(y).view(len(y), -1, self.heads, self.head_dim).transpose(1, 2)
        kv = self.kv(self.reduce(y)).view(len(y), -1, 2, self.heads, self.head_dim)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind()
        return self.attend(q, k, v).transpose(1, 2).reshape(y.shape)


class TwinsAttention(Mechanism):
    """Attention within windows in even layers, to a reduced map in odd ones (LSA and GSA of Twins-SVT).

    Paper: Chu et al., "Twins: Revisiting the Design of Spatial Attention in Vision Transformers", NeurIPS 2021,
    https://arxiv.org/abs/2104.13840.

    Legend: N = H W tokens, C channels, h heads, d = C / h, M the side of a window, N' tokens of the map padded to whole
    windows, R the reduction, K = ceil(H / R) ceil(W / R) keys. y = LayerNorm(x).

        LSA, layers 0, 2, ... of a stage:  in each M x M window  z = softmax(Q K^T / sqrt d) V;  out = z Wo
        GSA, layers 1, 3, ...:  r = LayerNorm(Conv(y)), the convolution R x R of stride R;  r = y where R is 1
                                Q = y Wq;  K, V = r Wkv;  z = softmax(Q K^T / sqrt d) V;  out = z Wo

    GSA is PVT's attention, see ``attnbench.mechanisms.sra.SpatialReductionAttention``. R is 8, 4, 2, 1 at strides
    4, 8, 16, 32.

    Cost per image: LSA (3 N' + N) C^2 MACs of projections and 2 N' M^2 C of attention products; GSA 2 (N + K) C^2, 2 N
    K C and, if R > 1, K R^2 C^2 of the convolution. The scores are h N' M^2 or h N K elements, which ``unfused`` holds
    and ``sdpa`` does not.

    No reach is claimed: LSA is local and GSA is global, and both are layers of this class.

    Differs from the paper:
        - LSA pads a map that does not divide, or is smaller than a window, with zeros after the norm, bottom right, as
          the authors' detection code and timm do. Padding tokens are attended to: their keys and values are the biases.
        - GSA pads likewise to whole patches, so that every token is in a key. The authors' code and timm let the
          convolution leave out the rows and columns that remain, and cannot run on a map smaller than R.
        - The convolution is drawn as the projections are, with deviation 0.02; the authors' has sqrt(2 / (R^2 C)).
        - There is no dropout. The position encoding (PEG) is left to the network around the layer.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.twins import TwinsAttention
        >>> layer = TwinsAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> TwinsAttention.macs(layer.site)
        Macs(projections=3211264, attention=1229312, other=0)
    """

    paper = "Chu et al., NeurIPS 2021, arXiv:2104.13840"
    reach = None

    def __init__(
        self, site: Site, *, window: int = 7, reduction: Reduction = "auto", backend: Backend = "sdpa"
    ) -> None:
        """Build the layer, LSA or GSA by its place in the stage.

        Args:
            site: where the layer stands; the map may have any size, layers of odd index are GSA.
            window: M, tokens along a side of LSA's windows.
            reduction: R, tokens along a side of the patch that one key of GSA stands for; ``auto`` follows the stride.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for the three steps; same output.

        Raises:
            ValueError: the window or the reduction is smaller than 1.
        """
        super().__init__(site)
        side = patch_side(site, window=window, reduction=reduction)
        attend: Attend = F.scaled_dot_product_attention if backend == "sdpa" else unfused
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.gather = (
            LocallyGrouped(site, window=side, attend=attend)
            if is_local(site)
            else GloballySubsampled(site, reduction=side, attend=attend)
        )
        self.proj = nn.Linear(site.dim, site.dim)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        attended: Map = self.proj(self.gather(self.norm(x)))
        return attended

    @classmethod
    def why_unsupported(
        cls,
        site: Site,
        *,
        window: int = 7,
        reduction: Reduction = "auto",
        **options: Any,  # noqa: ANN401
    ) -> str | None:
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: the window or the reduction is smaller than 1.
        """
        patch_side(site, window=window, reduction=reduction)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, *, window: int = 7, reduction: Reduction = "auto", **options: Any) -> Macs:  # noqa: ANN401, ARG003
        """Return (3 N' + N) C^2 + 2 N' M^2 C for LSA, 2 (N + K) C^2 + 2 N K C and K R^2 C^2 if R > 1 for GSA."""
        side = patch_side(site, window=window, reduction=reduction)
        height, width = padded(site, side)
        if is_local(site):
            return Macs(
                projections=(3 * height * width + site.tokens) * site.dim**2,
                attention=2 * height * width * side**2 * site.dim,
            )
        convolution = height * width * site.dim**2 if side > 1 else 0
        return reduced_macs(site, keys=height * width // side**2, convolution=convolution)

    @classmethod
    def adaptation(
        cls,
        site: Site,
        *,
        window: int = 7,
        reduction: Reduction = "auto",
        **options: Any,  # noqa: ANN401, ARG003
    ) -> str | None:
        """Say what the map is padded to, None where windows or patches fit it."""
        side = patch_side(site, window=window, reduction=reduction)
        height, width = padded(site, side)
        if (height, width) == (site.height, site.width):
            return None
        why = f"window {side}, padding attended to" if is_local(site) else f"reduction {side}"
        return f"padded {site.height}x{site.width} to {height}x{width} ({why})"


def is_local(site: Site) -> bool:
    """Tell whether the layer of a site is LSA; it is GSA otherwise."""
    return site.layer % 2 == 0


def patch_side(site: Site, *, window: int, reduction: Reduction) -> int:
    """Return the side of what the layer of a site cuts the map into: M for LSA, R for GSA.

    Raises:
        ValueError: the window or the reduction is smaller than 1.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    subsampled = reduction_at(site, reduction)
    return window if is_local(site) else subsampled


def padded(site: Site, side: int) -> tuple[int, int]:
    """Return height and width of the map of a site, padded to whole patches of a side."""
    return site.height + -site.height % side, site.width + -site.width % side
