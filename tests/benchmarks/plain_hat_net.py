"""The plain formulation of HAT-Net: channels first throughout, as in its authors' code, attention in three steps."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from plain import _attend as attend
from torch import Tensor, nn

from attnbench.mechanisms.hmhsa import network as fast
from attnbench.mechanisms.hmhsa.attention import HMHSA
from attnbench.models.network import Feature, Images


def _norm(dim: int) -> nn.GroupNorm:
    return nn.GroupNorm(1, dim, eps=1e-6)


class HierarchicalAttention(nn.Module):
    """Attention in grids, then to the pooled map; over the whole map where a grid is one token."""

    def __init__(self, ours: HMHSA) -> None:
        super().__init__()
        dim = ours.site.dim
        self.heads, self.grid = ours.site.heads, ours.grid
        self.norm, self.proj_norm = _norm(dim), _norm(dim)
        self.qkv, self.proj = nn.Conv2d(dim, 3 * dim, 1), nn.Conv2d(dim, dim, 1)
        if self.grid > 1:
            self.grid_norm, self.ds_norm = _norm(dim), _norm(dim)
            self.q, self.kv = nn.Conv2d(dim, dim, 1), nn.Conv2d(dim, 2 * dim, 1)
            self.pool = nn.AvgPool2d(ours.pool)

    def forward(self, x: Feature) -> Feature:
        qkv = self.qkv(self.norm(x))
        if self.grid == 1:
            return self.proj(attend(*self._heads(qkv, 3)).transpose(-2, -1).reshape(x.shape))
        local = self.grid_norm(self._within_grids(qkv, x.shape) + x)
        (q,), (k, v) = self._heads(self.q(local), 1), self._heads(self.kv(self.ds_norm(self.pool(local))), 2)
        return self.proj(local + attend(q, k, v).transpose(-2, -1).reshape(x.shape))

    def _heads(self, x: Feature, parts: int) -> Tensor:
        return x.reshape(len(x), parts, self.heads, -1, x.shape[2] * x.shape[3]).permute(1, 0, 2, 4, 3)

    def _within_grids(self, qkv: Feature, shape: torch.Size) -> Feature:
        batch, _, height, width = shape
        side, rows, columns = self.grid, height // self.grid, width // self.grid
        grids = qkv.reshape(batch, 3, self.heads, -1, rows, side, columns, side).permute(1, 0, 4, 6, 2, 5, 7, 3)
        q, k, v = grids.reshape(3, batch * rows * columns, self.heads, side * side, -1)
        attended = attend(q, k, v).reshape(batch, rows, columns, self.heads, side, side, -1)
        return attended.permute(0, 3, 6, 1, 4, 2, 5).reshape(shape)


class ConvMLP(nn.Sequential):
    def __init__(self, dim: int, hidden: int, side: int) -> None:
        depthwise = nn.Conv2d(hidden, hidden, side, padding=side // 2, groups=hidden, bias=False)
        super().__init__()
        self.conv1 = nn.Sequential(_norm(dim), nn.Conv2d(dim, hidden, 1, bias=False), nn.SiLU(inplace=True))
        self.conv2 = nn.Sequential(depthwise, nn.SiLU(inplace=True))
        self.conv3 = nn.Sequential(nn.Conv2d(hidden, dim, 1, bias=False), _norm(dim))


class HATBlock(nn.Module):
    def __init__(self, ours: fast.HATBlock) -> None:
        super().__init__()
        depthwise = ours.conv.conv2[0]
        self.attn = HierarchicalAttention(ours.attn)
        self.conv = ConvMLP(ours.attn.site.dim, depthwise.in_channels, depthwise.kernel_size[0])

    def forward(self, x: Feature) -> Feature:
        x = x + self.attn(x)
        return x + self.conv(x)


class PlainHATNet(nn.Module):
    def __init__(self, ours: fast.HATNet) -> None:
        super().__init__()
        dims = [info["num_chs"] for info in ours.feature_info]
        self.patch_embed = nn.Sequential(
            nn.Conv2d(ours.in_chans, fast.STEM_DIM, 3, 2, 1),
            _norm(fast.STEM_DIM),
            nn.SiLU(inplace=True),
            nn.Conv2d(fast.STEM_DIM, dims[0], 3, 2, 1),
        )
        self.blocks = nn.ModuleList(nn.Sequential(*map(HATBlock, stage)) for stage in ours.blocks)
        for index in (1, 2, 3):
            conv = nn.Conv2d(dims[index - 1], dims[index], 3, 2, 1)
            shrink = nn.Sequential(OrderedDict(conv=conv, norm=_norm(dims[index])))
            self.add_module(f"ds{index + 1}", shrink)
        self.classifier = nn.Sequential(nn.Dropout(ours.drop_rate), nn.Linear(dims[-1], ours.num_classes))

    def forward(self, images: Images) -> Tensor:
        x = self.blocks[0](self.patch_embed(images))
        for index in (1, 2, 3):
            x = self.blocks[index](self.get_submodule(f"ds{index + 1}")(x))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))
