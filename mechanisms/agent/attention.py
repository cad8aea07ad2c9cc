"""Attention by way of a few agents, which gather for all tokens and hand out to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site

GRID = 7
"""Side of the coarse bias, which is interpolated to the map."""
Attend: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Queries: TypeAlias = Float[Tensor, "batch heads queries head_dim"]
Keys: TypeAlias = Float[Tensor, "batch heads keys head_dim"]


def checked(pool: int) -> int:
    """Return the side of the pooled map.

    Raises:
        ValueError: it is smaller than 1.
    """
    if pool < 1:
        raise ValueError(f"pool must be at least 1, got {pool}")
    return pool


def unfused(q: Queries, k: Keys, v: Keys, bias: Tensor) -> Queries:
    """Return softmax(Q K^T / sqrt d + bias) V in steps."""
    attended: Queries = ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + bias).softmax(-1) @ v
    return attended


def fused(q: Queries, k: Keys, v: Keys, bias: Tensor) -> Queries:
    """Return the same by torch's fused attention."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])


def interpolation(length: int, like: Tensor) -> Float[Tensor, "length coarse"]:
    """Return what each place of a side has of each of the coarse ones: linear, as two products make it bilinear."""
    exact = torch.promote_types(like.dtype, torch.float32)
    place = (torch.arange(length, dtype=exact, device=like.device) + 0.5) * (GRID / length) - 0.5
    apart = place.clamp(0, GRID - 1).unsqueeze(1) - torch.arange(GRID, dtype=exact, device=like.device)
    return (1 - apart.abs()).clamp(min=0).to(like.dtype)


class PlaceBias(nn.Module):
    """A bias between each agent and each token of a map: a coarse map's, interpolated, and one for row and column."""

    def __init__(self, site: Site, agents: int) -> None:
        """Draw the biases with deviation 0.02."""
        super().__init__()
        self.size = (site.height, site.width)
        shapes = {"coarse": (GRID, GRID), "row": (site.height, 1), "column": (1, site.width)}
        for name, shape in shapes.items():
            bias = nn.init.trunc_normal_(torch.empty(site.heads, agents, *shape), std=0.02)
            self.register_parameter(name, nn.Parameter(bias))

    def forward(self) -> Float[Tensor, "heads agents tokens"]:
        """Return the bias of every agent, head and token."""
        coarse, row, column = (self.get_parameter(name) for name in ("coarse", "row", "column"))
        down, across = (interpolation(length, coarse) for length in self.size)
        return (down @ (coarse @ across.T) + (row + column)).flatten(2)


class AgentAttention(Mechanism):
    """Attention by way of agents pooled from the queries: they gather from all tokens, and all tokens ask them.

    Paper: Han et al., "Agent Attention: On the Integration of Softmax and Linear Attention", ECCV 2024,
    https://arxiv.org/abs/2312.08874.

    Legend: N = H W tokens, C channels, h heads, d = C / h, n = P^2 agents; A the queries averaged to P x P; B1, B2
    biases between agents and places.

        y = LayerNorm(x);  Q, K, V = y W;  A = AvgPool(Q)
        z = softmax(Q A^T / sqrt d + B2) softmax(A K^T / sqrt d + B1) V + DWConv(V);  out = z Wo

    Each bias is the sum of a 7 x 7 map for each agent, interpolated to the map, and one for each row and column.

    Cost per image: 4 N C^2 MACs of projections, 4 N n C of attention products, linear in N, and 9 N C of the depthwise
    3 x 3 convolution of the values. Interpolating both biases, by a product for each side, takes 14 h n (H + 7) W more,
    once a call whatever the batch. The scores are 2 h N n elements, which ``unfused`` holds; ``sdpa`` does not, but
    its kernel on a CPU does where the biases learn.

    Differs from the paper:
        - 49 agents at any resolution and in all stages; the paper's networks have between 9 and 49, by stage.
        - The pooling is adaptive: where P does not divide a side, neighbouring agents share tokens, and on a map
          smaller than P tokens stand in several.
        - There is no class token and no dropout.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.agent import AgentAttention
        >>> layer = AgentAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> AgentAttention.macs(layer.site)
        Macs(projections=3211264, attention=2458624, other=516264)
    """

    paper = "Han et al., ECCV 2024, arXiv:2312.08874"
    reach = "global"

    def __init__(self, site: Site, *, pool: int = 7, backend: Literal["sdpa", "unfused"] = "sdpa") -> None:
        """Build the layer, initialised as the authors' is.

        Args:
            site: where the layer stands; the map may have any size.
            pool: P, agents along a side.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for the steps; same output.

        Raises:
            ValueError: there are no agents.
        """
        super().__init__(site)
        self.attend: Attend = fused if backend == "sdpa" else unfused
        self.pool = checked(pool)
        self.norm = nn.LayerNorm(site.dim)
        self.qkv = nn.Linear(site.dim, 3 * site.dim)
        self.gather_bias = PlaceBias(site, pool**2)
        self.hand_out_bias = PlaceBias(site, pool**2)
        self.position = nn.Conv2d(site.dim, site.dim, 3, padding=1, groups=site.dim)
        self.proj = nn.Linear(site.dim, site.dim)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        queries, keys, values = self.qkv(self.norm(x)).chunk(3, -1)
        agents = F.adaptive_avg_pool2d(queries.permute(0, 3, 1, 2), self.pool).permute(0, 2, 3, 1)
        q, k, v, a = (self._heads(each) for each in (queries, keys, values, agents))
        gathered = self.attend(a, k, v, self.gather_bias())
        attended = self.attend(q, a, gathered, self.hand_out_bias().transpose(1, 2))
        position = self.position(values.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: Map = self.proj(attended.transpose(1, 2).reshape(x.shape) + position)
        return out

    def _heads(self, y: Map) -> Queries:
        """Return the tokens of a map of any size, head by head."""
        return y.reshape(len(y), -1, self.site.heads, self.site.head_dim).transpose(1, 2)

    @classmethod
    def why_unsupported(cls, site: Site, *, pool: int = 7, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: there are no agents.
        """
        checked(pool)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, *, pool: int = 7, **options: Any) -> Macs:  # noqa: ANN401, ARG003
        """Return 4 N C^2 + 4 N n C + 9 N C, and 14 h n (H + 7) W of the biases."""
        biases = 2 * site.heads * checked(pool) ** 2 * GRID * site.width * (site.height + GRID)
        return Macs(
            projections=4 * site.tokens * site.dim**2,
            attention=4 * site.tokens * checked(pool) ** 2 * site.dim,
            other=9 * site.tokens * site.dim + biases,
        )
