"""Linear attention with ReLU for the feature map, at two scales, as in EfficientViT."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site

EPSILON = 1e-15

PackedMap: TypeAlias = Float[Tensor, "batch height width qkv_dim"]
Packed: TypeAlias = Float[Tensor, "batch tokens heads 3 head_dim"]
Tokens: TypeAlias = Float[Tensor, "batch tokens dim"]


def full_precision(device_type: str) -> AbstractContextManager[object]:
    """Return a context in which autocast does not lower the precision."""
    return nullcontext() if device_type == "meta" else torch.autocast(device_type, enabled=False)


def linear_attention(qkv: Packed) -> Tokens:
    """Return ReLU(Q) (ReLU(K)^T V) / (ReLU(Q) sum ReLU(K)), in float32 or float64 and then in the type given."""
    wide = torch.promote_types(qkv.dtype, torch.float32)
    with full_precision(qkv.device.type):
        q, k, v = qkv.permute(3, 0, 2, 1, 4).contiguous().to(wide).unbind()
        q, k = q.relu(), k.relu()
        numerator, denominator = q @ (k.transpose(-2, -1) @ v), q @ k.sum(-2)[..., None]
        attended = numerator / (denominator + EPSILON)
    return attended.transpose(1, 2).flatten(2).to(qkv.dtype)


class Aggregation(nn.Module):
    """Queries, keys and values that each sum up a neighbourhood: a depthwise convolution, then one within each head."""

    def __init__(self, site: Site, side: int) -> None:
        super().__init__()
        dim = 3 * site.dim
        self.depthwise = nn.Conv2d(dim, dim, side, padding=side // 2, groups=dim, bias=False)
        self.pointwise = nn.Conv2d(dim, dim, 1, groups=3 * site.heads, bias=False)

    def forward(self, qkv: PackedMap) -> PackedMap:
        """Return (B, H, W, 3C)."""
        aggregated: Tensor = self.pointwise(self.depthwise(qkv.permute(0, 3, 1, 2)))
        return aggregated.permute(0, 2, 3, 1)


class ReLULinearAttention(Mechanism):
    """Linear attention with ReLU(Q) and ReLU(K), of tokens and of their neighbourhoods (EfficientViT).

    Paper: Cai et al., "EfficientViT: Multi-Scale Linear Attention for High-Resolution Dense Prediction", ICCV 2023,
    https://arxiv.org/abs/2205.14756.

    Legend: N = H W tokens, C channels, h heads, d = C / h, k the side of the aggregation, s = 2 scales (1 without
    aggregation).

        y = LayerNorm(x);  P1 = [Q, K, V] = y Wqkv;
            P2 = grouped 1 x 1 (depthwise k x k (P1)), Q, K, V of each head apart
        for each scale  z = ReLU(Q) (ReLU(K)^T V) / (ReLU(Q) sum_n ReLU(K_n));  out = [z of P1, z of P2] Wo

    Keys and values are summed up first, which takes d x d elements per head and scale, and no N x N scores. Where a
    head has no positive query the result is 0, and it jumps there: half precision can round a token across, with an
    error as large as the value. Of independent queries of mean 0, 2^-d tokens have none that is positive.

    Cost per image: (3 + s) N C^2 MACs of projections, s N C (2 d + 1) of attention products and, with aggregation,
    3 N C (k^2 + d) of convolutions: linear in N throughout.

    Differs from the paper:
        - A LayerNorm comes first and no batch norm last: a batch norm would let the images of a batch see each other in
          training. The output projection has a bias instead, which is what the batch norm's shift becomes once folded.
        - Heads are as wide as the site has them; EfficientViT's are 16 wide (B0, B1) or 32 (B2 and larger).
        - Keys and values are always summed first. The authors' code forms N x N scores on maps of at most d tokens.
        - Products and quotient are in float32 in half precision and under autocast, as in timm, because sums over a map
          leave the range of float16 (https://github.com/mit-han-lab/efficientvit/issues/15). The authors' code moves to
          float32 for the quotient alone.
        - The denominator has 1e-15 added, as in the authors' code (timm: 1e-5), so that a token whose queries are all
          negative attends to nothing. Before training the denominators of the smallest maps are about 1e-5 themselves.
        - The convolution block (MBConv) that follows in EfficientViT is a sub-layer of its own, and left out.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.linear import ReLULinearAttention
        >>> layer = ReLULinearAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> ReLULinearAttention.macs(layer.site)
        Macs(projections=4014080, attention=1630720, other=2145024)
    """

    paper = "Cai et al., ICCV 2023, arXiv:2205.14756"
    reach = "global"

    def __init__(self, site: Site, *, aggregation: int = 5) -> None:
        """Build the layer, all weights drawn as those of the other mechanisms.

        Args:
            site: where the layer stands; the map may have any size.
            aggregation: side k of the neighbourhoods of the second scale in tokens, odd; 0 for one scale.

        Raises:
            ValueError: the side is even or negative.
        """
        super().__init__(site)
        scales = _scales(aggregation)
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.qkv = nn.Linear(site.dim, 3 * site.dim, bias=False)
        self.aggregate = Aggregation(site, aggregation) if aggregation else None
        self.proj = nn.Linear(scales * site.dim, site.dim)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(self.proj.bias)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        qkv = self.qkv(self.norm(x))
        scales = (qkv,) if self.aggregate is None else (qkv, self.aggregate(qkv))
        attended = torch.cat([linear_attention(self._heads(scale)) for scale in scales], -1)
        projected: Map = self.proj(attended).view(x.shape)
        return projected

    def _heads(self, qkv: PackedMap) -> Packed:
        """Return the tokens with Q, K and V of the first head first, as EfficientViT orders them."""
        return qkv.reshape(qkv.shape[0], -1, self.site.heads, 3, self.site.head_dim)

    @classmethod
    def why_unsupported(cls, site: Site, *, aggregation: int = 5, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: the side of the aggregation is even or negative.
        """
        _scales(aggregation)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, *, aggregation: int = 5, **options: Any) -> Macs:  # noqa: ANN401, ARG003
        """Return (3 + s) N C^2 + s N C (2 d + 1), and 3 N C (k^2 + d) with aggregation."""
        scales, elements = _scales(aggregation), site.tokens * site.dim
        return Macs(
            projections=(3 + scales) * elements * site.dim,
            attention=scales * elements * (2 * site.head_dim + 1),
            other=3 * elements * (aggregation**2 + site.head_dim) if aggregation else 0,
        )


def _scales(aggregation: int) -> int:
    """Return how many scales there are.

    Raises:
        ValueError: the side of the aggregation is even or negative.
    """
    if aggregation < 0 or (aggregation and aggregation % 2 == 0):
        raise ValueError(f"aggregation must be odd, or 0 for one scale, got {aggregation}")
    return 2 if aggregation else 1
