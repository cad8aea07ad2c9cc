"""Attention within windows that shift from layer to layer, as in Swin.

Paper: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021,
https://arxiv.org/abs/2103.14030.

Legend: N tokens of the map padded to whole windows, C channels, h heads, d = C / h, M the side of a window.

    y = LayerNorm(x);  in each window  z = softmax(Q K^T / sqrt d + B) V;  out = z Wo

B is read from a table of (2M - 1)^2 values per head by the offset between two tokens. Odd layers of a stage first
roll the map by floor(M / 2); tokens of one window that come from different ends of the map then get -100 added.

Cost per image: 4 N C^2 MACs of projections and 2 M^2 N C of attention products. The scores are h N M^2 elements,
which ``unfused`` holds and ``sdpa`` does not. Bias and masks take 4 h M^4 at most, whatever the map.

Differs from the paper:
    - A map that does not divide is padded with zeros after the norm, bottom right, before it is rolled, as in the
      authors' detection code (timm rolls first, which puts the seam inside the map). Padding tokens are not masked:
      their keys and values are the biases.
    - A side that is not larger than the window is one window and not shifted, each side by itself, as in timm.
    - ``resolution_policy="scaled"`` is an addition: the paper's window is 7 at any resolution.
    - The table is read by sliding windows, with no index of M^4 entries. There is no dropout.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float, Int
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site, option_defaults
from mechanisms.swin.biased import fused, unfused
from mechanisms.swin.windows import Side, arrange

Policy = Literal["fixed", "scaled"]


def sides(site: Site, *, window: int, resolution_policy: Policy) -> tuple[Side, Side]:
    """Return how the map of a site is cut down and across.

    Raises:
        ValueError: the window is smaller than 1.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    down, across = (
        Side.cut(
            length,
            window=scaled(window, length * site.stride) if resolution_policy == "scaled" else window,
            shifted=site.layer % 2 == 1,
        )
        for length in (site.height, site.width)
    )
    return down, across


def scaled(window: int, pixels: int) -> int:
    """Return the window that is to an image side of so many pixels what ``window`` is to 224, rounded half up."""
    return max(1, (2 * window * pixels + 224) // 448)


class ShiftedWindowAttention(Mechanism):
    """Attention within windows, shifted in every second layer, with a relative position bias (Swin)."""

    paper = "Liu et al., ICCV 2021, arXiv:2103.14030"
    reach = "local"

    order: Tensor
    place: Tensor
    masks: Tensor

    def __init__(
        self,
        site: Site,
        *,
        window: int = 7,
        resolution_policy: Policy = "fixed",
        backend: Literal["sdpa", "unfused"] = "sdpa",
    ) -> None:
        """Build the layer, initialised as Swin is.

        Args:
            site: where the layer stands; layers of odd index are shifted.
            window: side M of a window in tokens.
            resolution_policy: ``fixed`` keeps the window; ``scaled`` multiplies it by image side / 224 on each side,
                the image side being tokens x stride, rounded half up.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for its steps; same output.

        Raises:
            ValueError: the window is smaller than 1.
        """
        super().__init__(site)
        self.attend = fused if backend == "sdpa" else unfused
        self.rows, self.columns = sides(site, window=window, resolution_policy=resolution_policy)
        self.area = self.rows.window * self.columns.window
        self.norm = nn.LayerNorm(site.dim)
        self.qkv = nn.Linear(site.dim, 3 * site.dim)
        self.proj = nn.Linear(site.dim, site.dim)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        table = torch.empty(site.heads, 2 * self.rows.window - 1, 2 * self.columns.window - 1)
        self.table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        arrangement = arrange(self.rows, self.columns)
        self.counts = arrangement.counts
        self.register_buffer("order", arrangement.order, persistent=False)
        self.register_buffer("place", arrangement.order.flatten().argsort().int(), persistent=False)
        self.register_buffer("masks", arrangement.masks, persistent=False)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        batch, height, width, dim = x.shape
        order, place = self._indices(batch)
        tokens = self._padded(self.norm(x)).flatten(0, 2).index_select(0, order)
        attended = self._attend(self.qkv(tokens), batch)
        z: Tensor = self.proj(attended).index_select(0, place)
        return z.view(batch, self.rows.padded, self.columns.padded, dim)[:, :height, :width]

    def _padded(self, y: Map) -> Float[Tensor, "batch padded_height padded_width dim"]:
        bottom, right = self.rows.padded - self.rows.length, self.columns.padded - self.columns.length
        return F.pad(y, (0, 0, 0, right, 0, bottom)) if bottom or right else y

    def _indices(self, batch: int) -> tuple[Int[Tensor, " rows"], Int[Tensor, " rows"]]:
        """Return where the tokens of the windows are in the maps of a batch, and the inverse.

        The first window of every image comes first, then the second, so that the windows of a kind lie together.
        """
        image = torch.arange(batch, dtype=torch.int32, device=self.order.device)
        order = self.order[:, None] + image[:, None] * self.order.numel()
        window, token = self.place // self.area, self.place % self.area
        place = (window * batch + image[:, None]) * self.area + token
        return order.flatten(), place.flatten()

    def _attend(self, qkv: Float[Tensor, "rows qkv_dim"], batch: int) -> Float[Tensor, "rows dim"]:
        """Attend within the windows of each kind."""
        packed = qkv.view(-1, self.area, 3, self.site.heads, self.site.head_dim)
        kinds = torch.split(packed, [count * batch for count in self.counts])
        bias = self._bias()
        parts = [self.attend(kind, bias, mask) for kind, mask in zip(kinds, self.masks.unbind(), strict=True)]
        return torch.cat(parts).flatten(0, 1)

    def _bias(self) -> Float[Tensor, "heads area area"]:
        """Return the table's entry for the offset from every token of a window to every other.

        Sliding the window over the table gives entry [i, j, p, q] = table[i + p, j + q]; with p and q counted
        backwards that is the offset from key to query plus M - 1.
        """
        slid = self.table.unfold(1, self.rows.window, 1).unfold(2, self.columns.window, 1)
        return slid.flip(-2, -1).reshape(-1, self.area, self.area)

    @classmethod
    def _sides(cls, site: Site, options: dict[str, Any]) -> tuple[Side, Side]:
        """Return how the map is cut under the constructor's options, those left out at their defaults."""
        chosen = option_defaults(cls) | options
        return sides(site, window=chosen["window"], resolution_policy=chosen["resolution_policy"])

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say why the layer cannot be built at a site: only that the heads do not divide the channels.

        Raises:
            ValueError: the window is smaller than 1.
        """
        cls._sides(site, options)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:  # noqa: ANN401
        """Return 4 N C^2 + 2 M^2 N C, with N the tokens of the padded map."""
        rows, columns = cls._sides(site, options)
        tokens, area = rows.padded * columns.padded, rows.window * columns.window
        return Macs(projections=4 * tokens * site.dim**2, attention=2 * area * tokens * site.dim)

    @classmethod
    def adaptation(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say how window and map were made to fit each other, None for whole windows of the size asked for."""
        rows, columns = cls._sides(site, options)
        asked = (option_defaults(cls) | options)["window"]
        used = str(rows.window) if rows.window == columns.window else f"{rows.window}x{columns.window}"
        notes = []
        if (rows.window, columns.window) != (asked, asked):
            notes.append(f"window {asked} made {used}")
        if (rows.padded, columns.padded) != (site.height, site.width):
            notes.append(f"padded {site.height}x{site.width} to {rows.padded}x{columns.padded} (window {used})")
        return ", ".join(notes) or None
