"""Attention of a map together with a few learned tokens beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site, option_defaults
from attnbench.mechanisms.mhsa.attention import unfused_attention

Registers: TypeAlias = Float[Tensor, "batch registers dim"]
Handed: TypeAlias = Float[Tensor, "batch registers handed_dim"]
"""By another stage they have another width, and are not used."""


def checked(registers: int) -> int:
    """Return the number of registers.

    Raises:
        ValueError: it is smaller than 1.
    """
    if registers < 1:
        raise ValueError(f"registers must be at least 1, got {registers}")
    return registers


class RegisterAttention(Mechanism):
    """Attention of every token to every token and to a few learned ones beside the map, the registers (ViT, DINOv2).

    Paper: Darcet et al., "Vision Transformers Need Registers", ICLR 2024, https://arxiv.org/abs/2309.16588.

    Legend: N = H W tokens x, R registers r, C channels, h heads, d = C / h; [.] one after the other.

        y = LayerNorm([r, x]);  Q, K, V = y Wq, y Wk, y Wv;  [r', x'] = softmax(Q K^T / sqrt d) V Wo
        r <- r + r', and r <- r + MLP(r) with the block's MLP, as for the tokens of the map

    Registers are tokens without a place: the layers of a stage hand them on, and nothing reads them at the end.

    Cost per image: 4 (N + R) C^2 MACs of projections and 2 (N + R)^2 C of attention products. In a network R tokens
    more go through each MLP.

    Differs from the paper:
        - Each stage of a pyramid starts with registers of its own, since widths differ. The paper's networks have one
          width, and one set.
        - A layer that is not the first of its stage and is handed none has zeros in their place.
        - There is no class token.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.registers import RegisterAttention
        >>> layer = RegisterAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> y, registers = layer.step(torch.zeros(1, 14, 14, 64), None)
        >>> y.shape, registers.shape
        (torch.Size([1, 14, 14, 64]), torch.Size([1, 4, 64]))
        >>> RegisterAttention.macs(layer.site)
        Macs(projections=3276800, attention=5120000, other=0)
    """

    paper = "Darcet et al., ICLR 2024, arXiv:2309.16588"
    reach = "global"

    def __init__(self, site: Site, *, registers: int = 4, backend: Literal["sdpa", "unfused"] = "sdpa") -> None:
        """Build the layer, initialised as DINOv2 is.

        Args:
            site: where the layer stands; the map may have any size. The first layer of a stage has the registers.
            registers: R, tokens beside the map.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for the three steps; same output.

        Raises:
            ValueError: there are no registers.
        """
        super().__init__(site)
        self.attend = F.scaled_dot_product_attention if backend == "sdpa" else unfused_attention
        self.count = checked(registers)
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.qkv = nn.Linear(site.dim, 3 * site.dim)
        self.proj = nn.Linear(site.dim, site.dim)
        self.registers = nn.Parameter(torch.empty(registers, site.dim)) if site.layer == 0 else None
        if self.registers is not None:
            nn.init.normal_(self.registers, std=0.02)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Map) -> Map:
        """Return the attended map of a layer that is handed no registers, (B, H, W, C)."""
        return self.step(x, None)[0]

    def step(self, x: Map, carry: Handed | None) -> tuple[Map, Registers]:
        """Return the attended map and the registers, their residual added."""
        registers = self._registers(x, carry)
        tokens = torch.cat([registers, x.flatten(1, 2)], 1)
        qkv = self.qkv(self.norm(tokens)).view(*tokens.shape[:2], 3, self.site.heads, self.site.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        attended = self.proj(self.attend(q, k, v).transpose(1, 2).reshape(tokens.shape))
        return attended[:, self.count :].view(x.shape), registers + attended[:, : self.count]

    def rest(self, x: Map, carry: Registers, mlp: Callable[[Map], Map]) -> tuple[Map, Registers]:
        """Send the registers through the block's MLP as well."""
        return mlp(x), carry + mlp(carry.unsqueeze(1)).squeeze(1)

    def _registers(self, x: Map, carry: Handed | None) -> Registers:
        if self.registers is not None:
            return self.registers.to(x.dtype).expand(len(x), -1, -1)
        return x.new_zeros(len(x), self.count, self.site.dim) if carry is None else carry

    @classmethod
    def _tokens(cls, site: Site, options: dict[str, Any]) -> int:
        """Return N + R under the constructor's options, those left out at their defaults."""
        return site.tokens + checked((option_defaults(cls) | options)["registers"])

    @classmethod
    def mlp_tokens(cls, site: Site, **options: Any) -> int:  # noqa: ANN401
        """Return N + R."""
        return cls._tokens(site, options)

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: there are no registers.
        """
        cls._tokens(site, options)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:  # noqa: ANN401
        """Return 4 (N + R) C^2 + 2 (N + R)^2 C."""
        tokens = cls._tokens(site, options)
        return Macs(projections=4 * tokens * site.dim**2, attention=2 * tokens**2 * site.dim)
