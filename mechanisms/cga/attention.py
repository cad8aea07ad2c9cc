"""Heads one after the other, each on its own channels and what the head before found, as in EfficientViT (MSRA)."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site, option_defaults

Windows: TypeAlias = Float[Tensor, "windows rows columns channels"]


def sides(site: Site, window: int) -> tuple[int, int]:
    """Return the sides of a window, no larger than the map.

    Raises:
        ValueError: the window is smaller than 1.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    return min(window, site.height), min(window, site.width)


def padded(site: Site, down: int, across: int) -> tuple[int, int]:
    """Return height and width of the map in whole windows."""
    return -(-site.height // down) * down, -(-site.width // across) * across


class Head(nn.Module):
    """Attention of one head within windows, with a bias by distance and queries from a convolution."""

    def __init__(self, site: Site, *, key_dim: int, kernel: int, window: tuple[int, int]) -> None:
        """Build projection, convolution and bias."""
        super().__init__()
        self.key_dim, self.window = key_dim, window
        self.qkv = nn.Linear(site.head_dim, 2 * key_dim + site.head_dim)
        nn.init.trunc_normal_(self.qkv.weight, std=0.02)
        nn.init.zeros_(self.qkv.bias)
        self.local = nn.Conv2d(key_dim, key_dim, kernel, padding=kernel // 2, groups=key_dim)
        self.bias = nn.Parameter(torch.zeros(window))

    def forward(self, x: Windows) -> Windows:
        """Return what a head of d channels finds in each window, (windows, rows, columns, d)."""
        queries, keys, values = self.qkv(x).split([self.key_dim, self.key_dim, x.shape[-1]], -1)
        queries = self.local(queries.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
        scores = (queries * self.key_dim**-0.5) @ keys.flatten(1, 2).transpose(1, 2) + self._biases()
        attended: Windows = (scores.softmax(-1) @ values.flatten(1, 2)).view(x.shape)
        return attended

    def _biases(self) -> Float[Tensor, "area area"]:
        """Return the bias between any two places of a window, by how far apart they are down and across."""
        rows, columns = (torch.arange(length, device=self.bias.device) for length in self.window)
        down, across = ((side[:, None] - side).abs() for side in (rows, columns))
        spread = self.bias[down[:, None, :, None], across[None, :, None, :]]
        return spread.flatten(2).flatten(0, 1)


class CascadedGroupAttention(Mechanism):
    """Heads one after the other: each attends on its own channels plus what the head before it found (EfficientViT).

    Paper: Liu et al., "EfficientViT: Memory Efficient Vision Transformer with Cascaded Group Attention", CVPR 2023,
    https://arxiv.org/abs/2305.07027.

    Legend: N the places in all windows, C channels, h heads, d = C / h, e the width of queries and keys, M the side of
    a window, k that of the queries' convolution; x_i the i-th part of d channels, B_i a bias by distance.

        y = LayerNorm(x);  for i = 1 ... h  u_i = y_i + z_{i-1}, z_0 = 0;  Q, K, V = u_i W_i;
            z_i = softmax(DWConv(Q) K^T / sqrt e + B_i) V;  out = ReLU([z_1 ... z_h]) Wo

    Heads wait for each other: a layer is h small attentions in a row, whatever its multiply-adds.

    Cost per image: N C (2 e + d) + N C^2 MACs of projections, h N M^2 (e + d) of attention products and h N k^2 e of
    convolutions. One head's scores are N M^2 elements.

    Differs from the paper:
        - Batch norms are left out: convolutions have a bias instead, as they do once the norms are folded into them,
          and a layer norm comes first. Images of a batch would see each other in training.
        - Heads are the site's, of up to 24 in the fixed backbone, where the paper's networks have 2 to 4, and the
          convolution has one side for all of them.
        - A map that does not divide is padded with zeros after the norm, bottom right, and padding is attended to, as
          in the authors' code; a side smaller than the window is one window.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.cga import CascadedGroupAttention
        >>> layer = CascadedGroupAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> CascadedGroupAttention.macs(layer.site)
        Macs(projections=1605632, attention=921984, other=156800)
    """

    paper = "Liu et al., CVPR 2023, arXiv:2305.07027"
    reach = "local"

    def __init__(self, site: Site, *, window: int = 7, key_dim: int = 16, kernel: int = 5) -> None:
        """Build the layer.

        Args:
            site: where the layer stands; the map may have any size.
            window: M, side of a window in tokens.
            key_dim: e, channels of a head's queries and keys.
            kernel: k, side of the convolution of the queries, odd.

        Raises:
            ValueError: an option has a value that no site could take.
        """
        super().__init__(site)
        check(key_dim=key_dim, kernel=kernel)
        self.window = sides(site, window)
        self.norm = nn.LayerNorm(site.dim)
        self.heads = nn.ModuleList(
            Head(site, key_dim=key_dim, kernel=kernel, window=self.window) for _ in range(site.heads)
        )
        self.proj = nn.Linear(site.dim, site.dim)
        nn.init.trunc_normal_(self.proj.weight, std=0.02)
        nn.init.zeros_(self.proj.bias)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        (down, across), (height, width) = self.window, padded(self.site, *self.window)
        y = F.pad(self.norm(x), (0, 0, 0, width - self.site.width, 0, height - self.site.height))
        grid = y.view(len(x), height // down, down, width // across, across, self.site.dim)
        found: list[Tensor] = []
        for head, part in zip(self.heads, grid.transpose(2, 3).flatten(0, 2).chunk(self.site.heads, -1), strict=True):
            found.append(head(part + found[-1] if found else part))
        out: Tensor = self.proj(torch.cat(found, -1).relu())
        out = out.view(len(x), height // down, width // across, down, across, self.site.dim).transpose(2, 3)
        return out.reshape(y.shape)[:, : self.site.height, : self.site.width]

    @classmethod
    def _chosen(cls, site: Site, options: dict[str, Any]) -> tuple[tuple[int, int], int, int]:
        """Return window, key width and kernel under the constructor's options, those left out at their defaults."""
        chosen = option_defaults(cls) | options
        check(key_dim=chosen["key_dim"], kernel=chosen["kernel"])
        return sides(site, chosen["window"]), chosen["key_dim"], chosen["kernel"]

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: an option has a value that no site could take.
        """
        cls._chosen(site, options)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:  # noqa: ANN401
        """Return N C (2 e + d) + N C^2, h N M^2 (e + d) and h N k^2 e, with N the places of all windows."""
        window, key_dim, kernel = cls._chosen(site, options)
        height, width = padded(site, *window)
        places, area = height * width, window[0] * window[1]
        return Macs(
            projections=places * site.dim * (2 * key_dim + site.head_dim + site.dim),
            attention=site.heads * places * area * (key_dim + site.head_dim),
            other=site.heads * places * kernel**2 * key_dim,
        )

    @classmethod
    def adaptation(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say how window and map were made to fit each other, None for whole windows of the size asked for."""
        window, _, _ = cls._chosen(site, options)
        asked = (option_defaults(cls) | options)["window"]
        used = str(window[0]) if window[0] == window[1] else f"{window[0]}x{window[1]}"
        height, width = padded(site, *window)
        notes = [] if window == (asked, asked) else [f"window {asked} made {used}"]
        if (height, width) != (site.height, site.width):
            notes.append(f"padded {site.height}x{site.width} to {height}x{width} (window {used})")
        return ", ".join(notes) or None


def check(*, key_dim: int, kernel: int) -> None:
    """Raise ValueError for options that no site could take."""
    if key_dim < 1:
        raise ValueError(f"key_dim must be at least 1, got {key_dim}")
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel must be odd and at least 1, got {kernel}")
