"""A selective scan along rows and columns, both ways, as in VMamba."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site, option_defaults
from attnbench.mechanisms.ss2d.scan import Channels, chunked, stepwise

DIRECTIONS = 4
"""Along rows, along columns, and both backwards."""
_CHANNELS_A_RANK = 16
_STEPS = (0.001, 0.1)
"""Between which the steps start."""


def sizes(site: Site, expand: int, states: int) -> tuple[int, int, int]:
    """Return the inner channels E, the rank R of the steps' projection, and the states S of an inner channel.

    Raises:
        ValueError: the map is not widened by 1 at least, or there are no states.
    """
    if expand < 1:
        raise ValueError(f"expand must be at least 1, got {expand}")
    if states < 1:
        raise ValueError(f"states must be at least 1, got {states}")
    return expand * site.dim, -(-site.dim // _CHANNELS_A_RANK), states


class SelectiveScan2D(Mechanism):
    """A linear recurrence with coefficients of the tokens, along rows and columns, both ways (VMamba's SS2D).

    Paper: Liu et al., "VMamba: Visual State Space Model", NeurIPS 2024, https://arxiv.org/abs/2401.10166;
    the scan is Mamba's, Gu and Dao, https://arxiv.org/abs/2312.00752.

    Legend: N = H W tokens, C channels, E inner channels, S states for each, R = ceil(C / 16); i one of 4 directions, t
    the tokens in its order.

        y = LayerNorm(x);  u, g = y W;  u = SiLU(DWConv(u))
        D', B, C = u Wi, of R, S and S channels;  D = softplus(D' Vi + di), of E
        h_t = exp(D_t Ai) * h_{t-1} + D_t u_t B_t^T;  v_t = h_t C_t + Pi u_t, with h of E x S
        out = (LayerNorm(sum_i v) * SiLU(g)) Wo, with each v where its token is

    The depthwise convolution is 3 x 3. There are no scores and no heads; the heads of a site mean nothing here, and are
    asked to divide the channels as everywhere.

    Cost per image: N C (3 E) + 4 N E (2 R + 2 S) MACs of projections, 9 N E of the convolution, and 8 N E S of the
    scan: one multiply-add to carry each state on and one to read it. **No counter sees a recurrence**, so that the scan
    has its closed form alone, and rows say so. Its other elementwise work, the exponential above all, is left out as
    everywhere. ``chunked`` holds the states of some tokens, ``stepwise`` all 4 N E S, and keeps them for training.

    Differs from the paper:
        - It is the layer of the paper's first version, with a gate, E = 2 C and 16 states. Later networks have fewer
          states and no gate: ``expand=1,states=1,gate=off``.
        - The scan is in torch's operators, a token after the other; the authors' is a kernel for NVIDIA's GPUs.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.ss2d import SelectiveScan2D
        >>> layer = SelectiveScan2D(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> SelectiveScan2D.macs(layer.site)
        Macs(projections=8830976, attention=3211264, other=225792)
    """

    paper = "Liu et al., NeurIPS 2024, arXiv:2401.10166"
    reach = "global"

    def __init__(
        self,
        site: Site,
        *,
        expand: int = 2,
        states: int = 16,
        gate: bool = True,
        backend: Literal["chunked", "stepwise"] = "chunked",
    ) -> None:
        """Build the layer, initialised as VMamba's is.

        Args:
            site: where the layer stands; the map may have any size.
            expand: E / C, by how much the map is widened.
            states: S, entries of the state of each inner channel.
            gate: multiply with a gate before the output projection.
            backend: ``chunked`` for some tokens' states in memory, ``stepwise`` for all of them; same output.

        Raises:
            ValueError: the map is not widened by 1 at least, or there are no states.
        """
        super().__init__(site)
        inner, rank, states = sizes(site, expand, states)
        self.scan = chunked if backend == "chunked" else stepwise
        self.gated, self.widths = gate, (rank, states, states)
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.project_in = nn.Linear(site.dim, (2 if gate else 1) * inner, bias=False)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.coefficients = nn.Parameter(torch.empty(DIRECTIONS, inner, rank + 2 * states))
        self.steps = nn.Parameter(torch.empty(DIRECTIONS, rank, inner))
        self.step_bias = nn.Parameter(torch.empty(DIRECTIONS, inner))
        self.log_decay = nn.Parameter(torch.empty(DIRECTIONS, inner, states))
        self.skip = nn.Parameter(torch.ones(DIRECTIONS, inner))
        self.out_norm = nn.LayerNorm(inner)
        self.proj = nn.Linear(inner, site.dim, bias=False)
        self._draw(inner, rank, states)

    @torch.no_grad()
    def _draw(self, inner: int, rank: int, states: int) -> None:
        nn.init.uniform_(self.coefficients, -(inner**-0.5), inner**-0.5)
        nn.init.uniform_(self.steps, -(rank**-0.5), rank**-0.5)
        self.log_decay.copy_(torch.arange(1.0, states + 1).log().expand_as(self.log_decay))
        low, high = map(math.log, _STEPS)
        step = torch.empty_like(self.step_bias).uniform_(low, high).exp()
        self.step_bias.copy_(step + (-torch.expm1(-step)).log())  # softplus of it is the step
        for linear in (self.project_in, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)

    def forward(self, x: Map) -> Map:
        """Return the scanned map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        projected = self.project_in(self.norm(x))
        entered, *gate = projected.chunk(2, -1) if self.gated else (projected,)
        convolved = F.silu(self.conv(entered.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        y = self.out_norm(self._gathered(self._scanned(_ordered(convolved)), x.shape[1:3]))
        out: Map = self.proj(y * F.silu(gate[0]) if gate else y)
        return out

    def _scanned(self, entered: Channels) -> Channels:
        """Return what is read along each direction, (N, B, 4, E)."""
        dependent = entered.movedim(2, 0).flatten(1, 2) @ self.coefficients
        steps, b, c = torch.split(dependent, list(self.widths), -1)
        shape = (DIRECTIONS, *entered.shape[:2], -1)
        delta, b, c = (each.reshape(shape).movedim(0, 2) for each in (steps @ self.steps, b, c))
        delta = F.softplus(delta + self.step_bias)
        read = self.scan(entered, delta, -self.log_decay.exp(), b, c)
        return read + entered * self.skip

    def _gathered(self, read: Channels, size: torch.Size) -> Float[Tensor, "batch height width inner"]:
        """Return the sum of all directions, each token's where it is."""
        height, width = size
        rows, columns, *backwards = read.unbind(2)
        rows, columns = (each + other.flip(0) for each, other in zip((rows, columns), backwards, strict=True))
        down = columns.view(width, height, *rows.shape[1:]).transpose(0, 1)
        return (rows.view(down.shape) + down).permute(2, 0, 1, 3)

    @classmethod
    def _sizes(cls, site: Site, options: dict[str, Any]) -> tuple[int, int, int]:
        """Return E, R and S under the constructor's options, those left out at their defaults."""
        chosen = option_defaults(cls) | options
        return sizes(site, chosen["expand"], chosen["states"])

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: the map is not widened by 1 at least, or there are no states.
        """
        cls._sizes(site, options)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, *, gate: bool = True, **options: Any) -> Macs:  # noqa: ANN401
        """Return 3 N C E (2 without a gate) + 4 N E (2 R + 2 S), 8 N E S of the scan and 9 N E."""
        inner, rank, states = cls._sizes(site, options)
        per_channel = site.tokens * inner
        return Macs(
            projections=per_channel * ((3 if gate else 2) * site.dim + DIRECTIONS * (2 * rank + 2 * states)),
            attention=2 * DIRECTIONS * per_channel * states,
            other=9 * per_channel,
        )


def _ordered(y: Float[Tensor, "batch height width inner"]) -> Channels:
    """Return the tokens in the order of each direction: along rows, along columns, and both backwards."""
    rows, columns = y.permute(1, 2, 0, 3).flatten(0, 1), y.permute(2, 1, 0, 3).flatten(0, 1)
    return torch.stack([rows, columns, rows.flip(0), columns.flip(0)], 2)
