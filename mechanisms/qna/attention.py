"""Attention in sliding windows by learned queries that all windows share, as in QnA-ViT."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site
from attnbench.mechanisms.qna.drawing import lecun_normal
from attnbench.mechanisms.qna.windows import Scores, attend_windows

Count: TypeAlias = int | Literal["auto"]


def _full_precision(device_type: str) -> AbstractContextManager[object]:
    """Return a context in which autocast does not lower the precision."""
    # torch 2.11 cannot compile torch.amp.is_autocast_available, which would be the way to ask.
    return nullcontext() if device_type == "meta" else torch.autocast(device_type, enabled=False)


class LearnedQueryAttention(nn.Module):
    """The attention alone, without norm or residual; a stride of 2 halves the map and may widen it."""

    def __init__(
        self, in_dim: int, dim: int, heads: int, *, kernel_size: int = 3, queries: int = 2, stride: int = 1
    ) -> None:
        """Build the layer.

        Args:
            in_dim: channels of the input.
            dim: channels of the output, C.
            heads: h, which divides ``dim``.
            kernel_size: k, odd.
            queries: L, learned queries per head.
            stride: tokens between the centres of neighbouring windows.
        """
        super().__init__()
        self.heads, self.stride = heads, stride
        self.query = nn.Parameter(torch.empty(queries, dim))
        self.key = nn.Parameter(torch.empty(dim, in_dim))
        self.value = nn.Linear(in_dim, dim, bias=False)
        self.bias = nn.Parameter(torch.empty(queries, heads, kernel_size, kernel_size))
        self.scale = nn.Parameter(torch.empty(queries, heads, kernel_size, kernel_size))
        self.proj = nn.Linear(dim, dim, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as the released code does: biases 0, scales with deviation 0.02, queries 1 / sqrt d."""
        std = (self.query.shape[1] // self.heads) ** -0.5
        nn.init.trunc_normal_(self.query, std=std, a=-2 * std, b=2 * std)
        for weight in (self.key, self.value.weight, self.proj.weight):
            lecun_normal(weight)
        nn.init.zeros_(self.bias)
        nn.init.normal_(self.scale, std=0.02)

    def forward(self, x: Float[Tensor, "batch height width in_dim"]) -> Float[Tensor, "batch rows columns dim"]:
        """Return (B, ceil(H / stride), ceil(W / stride), dim) for a map of (B, H, W, in_dim)."""
        values = self.value(x).view(*x.shape[:3], self.heads, -1)
        with _full_precision(x.device.type):
            scores = self._scores(x)
            bias, scale = self.bias.to(scores.dtype), self.scale.to(scores.dtype)
            attended = attend_windows(scores, values, bias, scale, stride=self.stride)
        projected: Tensor = self.proj(attended.flatten(3).to(values.dtype))
        return projected

    def _scores(self, x: Float[Tensor, "batch height width in_dim"]) -> Scores:
        """Return the scores of every token, (B, H, W, L, h), in float32 or float64."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        queries, dim = self.query.shape
        query = self.query.to(dtype).view(queries, self.heads, -1, 1)
        norm = torch.linalg.vector_norm(query, dim=2, keepdim=True)
        query = query / ((norm + 1e-6) * query.shape[2] ** 0.5)
        folded = torch.linalg.vecdot(query, self.key.to(dtype).view(1, self.heads, dim // self.heads, -1), dim=2)
        return F.linear(x.to(dtype), folded.flatten(0, 1)).view(*x.shape[:3], queries, self.heads)


class QnA(Mechanism):
    """Attention in sliding windows by learned queries, after a layer norm (QnA-ViT).

    Paper: Arar et al., "Learned Queries for Efficient Local Attention", CVPR 2022, https://arxiv.org/abs/2112.11435.

    Legend: x_p the token at p of N = H W, C channels, h heads, d = C / h; per head L learned queries q_l, a window of
    k x k offsets D, a position bias b(l, D) and a scale w(l, D) of either sign.

        q~_l = q_l / ((|q_l| + 1e-6) sqrt d);   score s_l(p) = (q~_l^T Wk) x_p;   v(p) = Wv x_p
        z(p) = sum_l [ sum_D w(l, D) exp(s_l(p + D) + b(l, D)) v(p + D) ] / [ sum_D exp(s_l(p + D) + b(l, D)) ]
        out = Wo z,  with offsets outside the map left out of both sums

    Keys are never formed, and the sums are depthwise convolutions (``windows.py`` says how, and why no score overflows
    or underflows): nothing of k^2 times the map is ever in memory.

    Cost per image: N (2 C^2 + L h C + L C (1 + k^2) + L h k^2) multiply-adds. ``macs`` gives N L C less: weighting the
    values by exp(s) is elementwise work, and so is folding the queries into Wk, L C^2 once per call. Activations
    beside the values: about 2 N C for one query at a time in inference, 2 N L (C + h) kept for training.

    Differs from the paper:
        - The layer norm before the attention belongs to the mechanism (``QnA``); ``LearnedQueryAttention`` has none.
        - The authors subtract nothing from the scores before the exponential; here the sums are stable for any scores.
        - Half precision forms scores, exponentials and both convolutions in float32.
        - The heads are the site's, of 32 channels in the backbone, unless ``heads`` or ``head_dim`` says otherwise; the
          authors have heads of 8 channels (T, S) or 16 (B).
        - The sum over queries is taken query by query, which needs less memory than one convolution of L C channels.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.qna import QnA
        >>> layer = QnA(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> QnA.macs(layer.site)
        Macs(projections=1655808, attention=232848, other=0)
    """

    paper = "Arar et al., CVPR 2022, arXiv:2112.11435"
    reach = "local"
    undecayed = ("bias", "scale")

    def __init__(
        self, site: Site, *, window: int = 3, queries: int = 2, heads: Count = "auto", head_dim: Count = "auto"
    ) -> None:
        """Build the layer.

        Args:
            site: where the layer stands; the map may have any size.
            window: k, tokens along a side of a window, odd.
            queries: L, learned queries per head.
            heads: h, the site's if ``auto``.
            head_dim: d, channels of a head, instead of ``heads``: 8 in the authors' smaller networks, 16 in the base.

        Raises:
            ValueError: the window is not odd, there is no query, or heads are given in two ways.
        """
        super().__init__(site)
        check(window=window, queries=queries)
        chosen = heads_of(site, heads=heads, head_dim=head_dim)
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.attention = LearnedQueryAttention(site.dim, site.dim, chosen, kernel_size=window, queries=queries)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        attended: Map = self.attention(self.norm(x))
        return attended

    @classmethod
    def why_unsupported(
        cls,
        site: Site,
        *,
        window: int = 3,
        queries: int = 2,
        heads: Count = "auto",
        head_dim: Count = "auto",
        **options: Any,  # noqa: ANN401
    ) -> str | None:
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: the window is not odd, there is no query, or heads are given in two ways.
        """
        check(window=window, queries=queries)
        chosen = heads_of(site, heads=heads, head_dim=head_dim)
        if head_dim != "auto" and site.dim % head_dim:
            return f"dim {site.dim} does not divide into heads of {head_dim}"
        return super().why_unsupported(replace(site, heads=chosen), **options)

    @classmethod
    def macs(
        cls,
        site: Site,
        *,
        window: int = 3,
        queries: int = 2,
        heads: Count = "auto",
        head_dim: Count = "auto",
        **options: Any,  # noqa: ANN401, ARG003
    ) -> Macs:
        """Return N (2 C^2 + L h C) of projections and N L (C + h) k^2 of convolutions, none if k is 1."""
        tokens, dim, chosen = site.tokens, site.dim, heads_of(site, heads=heads, head_dim=head_dim)
        offsets = window**2 if window > 1 else 0
        return Macs(
            projections=tokens * (2 * dim**2 + queries * chosen * dim),
            attention=tokens * queries * (dim + chosen) * offsets,
        )


def heads_of(site: Site, *, heads: Count, head_dim: Count) -> int:
    """Return h at a site.

    Raises:
        ValueError: both are given, or one is smaller than 1.
    """
    if heads != "auto" and head_dim != "auto":
        raise ValueError(f"heads={heads} and head_dim={head_dim} say the same thing twice; give one of them")
    for name, value in (("heads", heads), ("head_dim", head_dim)):
        if value != "auto" and value < 1:
            raise ValueError(f"{name} must be at least 1 or 'auto', got {value}")
    if head_dim != "auto":
        return max(1, site.dim // head_dim)
    return site.heads if heads == "auto" else heads


def check(*, window: int, queries: int) -> None:
    """Raise ValueError for options that no site could take."""
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window must be odd and at least 1, got {window}")
    if queries < 1:
        raise ValueError(f"queries must be at least 1, got {queries}")
