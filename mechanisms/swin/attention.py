"""Attention within windows that shift from layer to layer, as in Swin."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float, Int
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site, option_defaults
from attnbench.mechanisms.swin import flexed
from attnbench.mechanisms.swin.biased import Attended, Packed, fused_by_kind, unfused_by_kind
from attnbench.mechanisms.swin.images import some_at_a_time
from attnbench.mechanisms.swin.permuted import permuted
from attnbench.mechanisms.swin.windows import WindowSide, arrange

Policy = Literal["fixed", "scaled"]
Shift = Literal["cyclic", "padded", "none"]
Rows: TypeAlias = Float[Tensor, "tokens dim"]
Places: TypeAlias = Float[Tensor, "batch rows columns dim"]
"""A map with what is padded and filled around it."""


def sides(site: Site, *, window: int, shift: Shift, resolution_policy: Policy) -> tuple[WindowSide, WindowSide]:
    """Return how the map of a site is cut down and across.

    Raises:
        ValueError: the window is smaller than 1.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    down, across = (
        WindowSide.cut(
            length,
            window=scaled(window, length * site.stride) if resolution_policy == "scaled" else window,
            shifted=shift != "none" and site.layer % 2 == 1,
            filled=shift == "padded",
        )
        for length in (site.height, site.width)
    )
    return down, across


def scaled(window: int, pixels: int) -> int:
    """Return the window that is to an image side of so many pixels what ``window`` is to 224, rounded half up."""
    return max(1, (2 * window * pixels + 224) // 448)


class ShiftedWindowAttention(Mechanism):
    """Attention within windows, shifted in every second layer, with a relative position bias (Swin).

    Paper: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021,
    https://arxiv.org/abs/2103.14030.

    Legend: N the places in all windows, C channels, h heads, d = C / h, M the side of a window.

        y = LayerNorm(x);  in each window  z = softmax(Q K^T / sqrt d + B) V;  out = z Wo

    B is read from a table of (2M - 1)^2 values per head by the offset between two tokens. Odd layers of a stage
    displace the grid of windows by floor(M / 2), which leaves smaller windows at the map's borders. The ways of the
    paper's Table 5:

        cyclic  the map is rolled by floor(M / 2), so that the smaller windows of opposite borders share one; scores
                between tokens from different ends of the map get -100 added. N is the tokens of the map in whole
                windows.
        padded  the smaller windows are filled to M x M; scores between tokens and filled places get -100 added. Same
                output, with one window more along each side: for 2 x 2 windows N is 2.25 times as large.
        none    no layer is shifted.

    Cost per image: 4 N C^2 MACs of projections and 2 M^2 N C of attention products. The scores are h N M^2 elements,
    which ``unfused`` holds and ``sdpa`` does not. Bias and masks take 4 h M^4 at most, whatever the map.

    Differs from the paper:
        - A map that does not divide is padded with zeros after the norm, bottom right, before it is rolled, as in the
          authors' detection code (timm rolls first, which puts the seam inside the map). Padding tokens are not masked:
          their keys and values are the biases. That holds for ``padded`` too, so that its output is that of ``cyclic``
          on every map: only what fills the displaced grid's border windows is masked.
        - The paper does not say what fills the windows of ``padded``. Here it is zeros after the norm, which then go
          through the projections as tokens do.
        - A side that is not larger than the window is one window and not shifted, each side by itself, as in timm.
        - ``resolution_policy="scaled"`` is an addition: the paper's window is 7 at any resolution.
        - The table is read by sliding windows, with no index of M^4 entries. There is no dropout.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.swin import ShiftedWindowAttention
        >>> layer = ShiftedWindowAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> ShiftedWindowAttention.macs(layer.site)
        Macs(projections=3211264, attention=1229312, other=0)
    """

    paper = "Liu et al., ICCV 2021, arXiv:2103.14030"
    reach = "local"
    undecayed = ("table",)
    infers_only = ("flex",)

    order: Tensor
    place: Tensor
    masks: Tensor

    def __init__(
        self,
        site: Site,
        *,
        window: int = 7,
        shift: Shift = "cyclic",
        resolution_policy: Policy = "fixed",
        backend: Literal["sdpa", "unfused", "flex"] = "sdpa",
    ) -> None:
        """Build the layer, initialised as Swin is.

        Args:
            site: where the layer stands; layers of odd index are shifted.
            window: side M of a window in tokens.
            shift: how a layer is shifted: ``cyclic`` rolls the map, ``padded`` fills the smaller windows at the
                borders, with the same output; ``none`` leaves it as it is.
            resolution_policy: ``fixed`` keeps the window; ``scaled`` multiplies it by image side / 224 on each side,
                the image side being tokens x stride, rounded half up.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for its steps, ``flex`` for FlexAttention, which
                only infers and is ``sdpa`` in float64 and in exported graphs; same output.

        Raises:
            ValueError: the window is smaller than 1.
        """
        super().__init__(site)
        self.attend = unfused_by_kind if backend == "unfused" else fused_by_kind
        self.flexes = backend == "flex"
        self.rows, self.columns = sides(site, window=window, shift=shift, resolution_policy=resolution_policy)
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
        return some_at_a_time(self._attended, x, widest=3 * self.site.dim)

    def _attended(self, x: Map) -> Map:
        batch, height, width, _ = x.shape
        top, left = self.rows.before, self.columns.before
        z = self._within_windows(x, batch) if len(self.counts) == 1 else self._within_kinds(x, batch)
        z = z.view(batch, self.rows.places, self.columns.places, self.site.dim)
        return z[:, top : top + height, left : left + width]

    # What was made of the map is nobody's once it is projected: names would keep it in memory.

    def _within_windows(self, x: Map, batch: int) -> Rows:
        """Attend where all windows are of one kind: the map is cut as it lies."""
        return self._laid(self.proj(self._attend(self.qkv(self._cut(self._filled(self.norm(x)))), batch)))

    def _within_kinds(self, x: Map, batch: int) -> Rows:
        """Attend in windows of several kinds: they are gathered kind by kind, and put back."""
        order, place = self._indices(batch)
        tokens = permuted(self._filled(self.norm(x)).flatten(0, 2), order, place)
        return permuted(self.proj(self._attend(self.qkv(tokens), batch)), place, order)

    def _cut(self, y: Places) -> Rows:
        down, across = self.rows, self.columns
        pieces = y.view(-1, down.windows, down.window, across.windows, across.window, self.site.dim)
        return pieces.transpose(2, 3).reshape(-1, self.site.dim)

    def _laid(self, z: Rows) -> Rows:
        down, across = self.rows, self.columns
        pieces = z.view(-1, down.windows, across.windows, down.window, across.window, self.site.dim)
        return pieces.transpose(2, 3).flatten(0, 4)

    def _filled(self, y: Map) -> Places:
        """Put zeros around the map, if there are more places than tokens."""
        top, bottom = self.rows.before, self.rows.places - self.rows.length - self.rows.before
        left, right = self.columns.before, self.columns.places - self.columns.length - self.columns.before
        return F.pad(y, (0, 0, left, right, top, bottom)) if any((left, right, top, bottom)) else y

    def _indices(self, batch: int) -> tuple[Int[Tensor, " rows"], Int[Tensor, " rows"]]:
        """Return where the tokens of the windows are in the maps of a batch, and the inverse.

        The first window of every image comes first, then the second, so that the windows of a kind lie together.
        """
        image = torch.arange(batch, dtype=torch.int32, device=self.order.device)
        order = self.order[:, None] + image[:, None] * self.order.numel()
        window, token = self.place // self.area, self.place % self.area
        place = (window * batch + image[:, None]) * self.area + token
        return order.flatten(), place.flatten()

    def _attend(self, qkv: Float[Tensor, "tokens qkv_dim"], batch: int) -> Rows:
        """Attend within the windows of each kind."""
        packed = qkv.view(-1, self.area, 3, self.site.heads, self.site.head_dim)
        if self.flexes and flexed.may(packed):
            return self._flexed(packed, batch).flatten(0, 1)
        attended: Tensor = self.attend(packed, self._bias(), self.masks, [count * batch for count in self.counts])
        return attended.flatten(0, 1)

    def _flexed(self, packed: Packed, batch: int) -> Attended:
        """Attend within all windows at once, whatever their kind."""
        kinds = [torch.full((windows * batch,), kind, device=packed.device) for kind, windows in enumerate(self.counts)]
        bias = (self._bias() + self.masks[:, None]).to(packed.dtype)
        attended = flexed.in_windows(packed.permute(2, 0, 3, 1, 4), bias, torch.cat(kinds))
        return attended.transpose(1, 2).flatten(2)

    def _bias(self) -> Float[Tensor, "heads area area"]:
        """Return the table's entry for the offset from every token of a window to every other.

        Sliding the window over the table turned round gives entry [i, j, p, q] = table[2M - 2 - i - p, 2M - 2 - j - q];
        with i and j counted backwards that is the offset from key to query plus M - 1.
        """
        slid = self.table.flip(1, 2).unfold(1, self.rows.window, 1).unfold(2, self.columns.window, 1)
        return slid.reshape(-1, self.area, self.area).flip(1)

    @classmethod
    def _sides(cls, site: Site, options: dict[str, Any]) -> tuple[WindowSide, WindowSide]:
        """Return how the map is cut under the constructor's options, those left out at their defaults."""
        chosen = option_defaults(cls) | options
        return sides(site, **{name: chosen[name] for name in ("window", "shift", "resolution_policy")})

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
        """Return 4 N C^2 + 2 M^2 N C, with N the places of all windows."""
        rows, columns = cls._sides(site, options)
        places, area = rows.places * columns.places, rows.window * columns.window
        return Macs(projections=4 * places * site.dim**2, attention=2 * area * places * site.dim)

    @classmethod
    def adaptation(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say how window and map were made to fit each other, None for whole windows of the size asked for.

        What fills border windows is not said: it is how the layer is shifted, and done to maps that fit as well.
        """
        rows, columns = cls._sides(site, options)
        asked = (option_defaults(cls) | options)["window"]
        used = str(rows.window) if rows.window == columns.window else f"{rows.window}x{columns.window}"
        notes = []
        if (rows.window, columns.window) != (asked, asked):
            notes.append(f"window {asked} made {used}")
        if (rows.padded, columns.padded) != (site.height, site.width):
            notes.append(f"padded {site.height}x{site.width} to {rows.padded}x{columns.padded} (window {used})")
        return ", ".join(notes) or None
