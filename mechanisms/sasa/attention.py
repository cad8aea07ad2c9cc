"""Self-attention in a sliding window around every token, as in stand-alone self-attention (SASA)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from attnbench.mechanism import Macs, Map, Mechanism, Site
from attnbench.mechanisms.sasa.lean import lean
from attnbench.mechanisms.sasa.unfolded import Bias, Heads, Packed, unfolded
from attnbench.mechanisms.swin import flexed


class StandAloneAttention(Mechanism):
    """Self-attention in a sliding window around every token, with a relative position bias (SASA).

    Paper: Ramachandran et al., "Stand-Alone Self-Attention in Vision Models", NeurIPS 2019,
    https://arxiv.org/abs/1906.05909. It is what learned queries (``mechanisms/qna``) are compared with in their paper.

    Legend: x_p the token at p of N = H W, C channels, h heads, d = C / h; k x k offsets D, for each head a bias b(D).

        y = LayerNorm(x);  q_p, k_p, v_p = Wq y_p, Wk y_p, Wv y_p
        z_p = sum_D exp(q_p^T k_{p+D} / sqrt d + b(D)) v_{p+D} / sum_D exp(q_p^T k_{p+D} / sqrt d + b(D));  out = Wo z
        with offsets outside the map left out of both sums

    Cost per image: 4 N C^2 MACs of projections and 2 N k^2 C of attention products. Both count all k^2 offsets of every
    token, those outside the map included, as ``unfolded`` multiplies them. ``lean`` is counted the same,
    though it multiplies each tile of queries with all keys that any of them sees: 4 times as much at k = 3 and 7, twice
    at k = 15.

    Memory beside queries, keys, values and result, in elements: ``unfolded`` holds 2 N k^2 C of windows and N h k^2 of
    scores, and keeps them for training. ``lean``, the default, works through the map in chunks: on a CPU no more than
    2^17 scores at a time, elsewhere as many as the batch has numbers if that is more than 2^22, but one tile's at
    least. It keeps nothing for training, and is the faster one as well.

    Differs from the paper:
        - Position enters by a learned bias for each head and offset, as in QnA. The paper adds learned embeddings of
          the row and the column offset to the keys, so that position is weighed by the query.
        - Scores are divided by sqrt d, and there is an output projection; the paper's layer has neither.
        - The layer norm before the attention belongs to the mechanism. The paper's spatially varying values, a stem,
          are not part of it.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.sasa import StandAloneAttention
        >>> layer = StandAloneAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> StandAloneAttention.macs(layer.site)
        Macs(projections=3211264, attention=225792, other=0)
    """

    paper = "Ramachandran et al., NeurIPS 2019, arXiv:1906.05909"
    undecayed = ("bias",)
    reach = "local"
    infers_only = ("flex",)

    def __init__(self, site: Site, *, window: int = 3, backend: Literal["unfolded", "lean", "flex"] = "lean") -> None:
        """Build the layer.

        Args:
            site: where the layer stands; the map may have any size.
            window: k, tokens along a side of a window, odd.
            backend: ``unfolded`` for k^2 copies of keys and values, ``lean`` for a chunk at a time, ``flex`` for
                FlexAttention, which only infers and is ``lean`` in float64 and in exported graphs; same output.

        Raises:
            ValueError: the window is not odd.
        """
        super().__init__(site)
        check(window=window)
        self.attend = unfolded if backend == "unfolded" else lean
        self.flexes = backend == "flex"
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.qkv = nn.Linear(site.dim, 3 * site.dim, bias=False)
        self.bias = nn.Parameter(torch.zeros(site.heads, window, window))
        self.proj = nn.Linear(site.dim, site.dim, bias=False)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        qkv = self.qkv(self.norm(x)).view(*x.shape[:3], 3, self.site.heads, self.site.head_dim)
        attend = self._flexed if self.flexes and flexed.may(qkv) else self.attend
        attended: Map = self.proj(attend(qkv, self.bias.to(qkv.dtype)).flatten(3))
        return attended

    def _flexed(self, qkv: Packed, bias: Bias) -> Heads:
        """Attend by FlexAttention, to all tokens of the map at once."""
        (height, width), window = qkv.shape[1:3], bias.shape[-1]
        around = flexed.Around((height, width), (window, window), (1, 1), inward=False)
        attended = flexed.in_map(qkv.flatten(1, 2).permute(2, 0, 3, 1, 4), bias, around)
        return attended.transpose(1, 2).reshape(qkv[..., 0, :, :].shape)

    @classmethod
    def why_unsupported(cls, site: Site, *, window: int = 3, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: the window is not odd.
        """
        check(window=window)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, *, window: int = 3, **options: Any) -> Macs:  # noqa: ANN401, ARG003
        """Return 4 N C^2 of projections and 2 N k^2 C of attention, offsets outside the map included."""
        return Macs(projections=4 * site.tokens * site.dim**2, attention=2 * site.tokens * window**2 * site.dim)


def check(*, window: int) -> None:
    """Raise ValueError for a window that no site could take."""
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window must be odd and at least 1, got {window}")
