"""The plain formulation of QnA-ViT: maps of (B, H, W, C), as in its authors' code, turned for every convolution.

Learned queries are two depthwise convolutions for all queries at once, as in the paper, not unfolded
windows. Their exponentials are not kept from overflow. Window attention is three steps with its scores in memory.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from plain import _attend as attend
from torch import Tensor, nn

from attnbench.mechanism import Map
from attnbench.mechanisms.qna import network as fast
from attnbench.models.network import Images


class MLP(nn.Sequential):
    def __init__(self, dim: int, ratio: int, gelu: str = "none") -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.fc1, self.act, self.fc2 = nn.Linear(dim, ratio * dim), nn.GELU(gelu), nn.Linear(ratio * dim, dim)


class LearnedQueries(nn.Module):
    """Sums over sliding windows of values weighted by exponentials, over sums of the exponentials."""

    def __init__(self, ours: fast.LearnedQueryAttention) -> None:
        super().__init__()
        self.stride = ours.stride
        self.query, self.key = nn.Parameter(ours.query.detach().clone()), nn.Parameter(ours.key.detach().clone())
        self.bias, self.scale = nn.Parameter(ours.bias.detach().clone()), nn.Parameter(ours.scale.detach().clone())
        dim, in_dim = ours.key.shape
        self.value, self.proj = nn.Linear(in_dim, dim, bias=False), nn.Linear(dim, dim, bias=False)

    def forward(self, x: Map) -> Map:
        queries, heads = self.bias.shape[:2]
        query = self.query.view(queries, heads, -1)
        query = query / ((torch.linalg.vector_norm(query, dim=-1, keepdim=True) + 1e-6) * query.shape[-1] ** 0.5)
        folded = torch.einsum("lhd,hdc->lhc", query, self.key.view(heads, -1, x.shape[-1]))
        exponentials = F.linear(x, folded.flatten(0, 1)).exp().unflatten(-1, (queries, heads, 1))
        values = self.value(x).unflatten(-1, (1, heads, -1))
        kernel = self.bias.exp()
        sums = self._slide(exponentials * values, kernel * self.scale)
        return self.proj((sums / self._slide(exponentials, kernel)).sum(3).flatten(3))

    def _slide(self, maps: Tensor, kernel: Tensor) -> Tensor:
        weight = kernel.unsqueeze(2).expand(-1, -1, maps.shape[-1], -1, -1).flatten(0, 2).unsqueeze(1)
        x = maps.flatten(3).permute(0, 3, 1, 2)
        slid = F.conv2d(x, weight, stride=self.stride, padding=weight.shape[-1] // 2, groups=len(weight))
        return slid.permute(0, 2, 3, 1).unflatten(-1, maps.shape[3:])


class LocalAttention(nn.Module):
    """Attention in windows with a relative position bias, gathered from its table as Swin does."""

    def __init__(self, ours: fast.LocalAttention) -> None:
        super().__init__()
        dim, self.heads, self.window = ours.site.dim, ours.site.heads, ours.window
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.table = nn.Parameter(ours.table.detach().clone())
        side = torch.arange(self.window)
        offsets = side[:, None] - side + self.window - 1
        index = offsets[:, None, :, None] * (2 * self.window - 1) + offsets[None, :, None, :]
        self.register_buffer("index", index.flatten(), persistent=False)

    def forward(self, x: Map) -> Map:
        batch, height, width, dim = x.shape
        side, area = self.window, self.window**2
        rows, columns = height // side, width // side
        windows = self.norm(x).reshape(batch, rows, side, columns, side, dim).transpose(2, 3).reshape(-1, area, dim)
        q, k, v = self.qkv(windows).reshape(-1, area, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.table.flatten(1)[:, self.index].view(-1, area, area)
        attended = self.proj(attend(q, k, v, bias).transpose(1, 2).reshape(-1, area, dim))
        return attended.reshape(batch, rows, columns, side, side, dim).transpose(2, 3).reshape(x.shape)


def _learned(norm: nn.LayerNorm, ours: fast.LearnedQueryAttention) -> nn.Module:
    return nn.Sequential(
        OrderedDict(norm=nn.LayerNorm(norm.normalized_shape, eps=1e-6), attention=LearnedQueries(ours))
    )


class QnABlock(nn.Module):
    def __init__(self, ours: nn.Module) -> None:
        super().__init__()
        attention = ours.attention
        local = isinstance(attention, fast.LocalAttention)
        self.attention = LocalAttention(attention) if local else _learned(attention.norm, attention.attention)
        self.mlp = MLP(ours.mlp.fc2.out_features, fast.MLP_RATIO, "tanh")
        if isinstance(ours, fast.QnAShrink):
            self.skip = nn.Conv2d(ours.skip.in_channels, ours.skip.out_channels, 1, 2, bias=False)

    def forward(self, x: Map) -> Map:
        skip = self.skip(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) if hasattr(self, "skip") else x
        x = skip + self.attention(x)
        return x + self.mlp(x)


class QnAStage(nn.Sequential):
    def __init__(self, ours: fast.QnAStage) -> None:
        super().__init__()
        if ours.shrink is not None:
            self.shrink = QnABlock(ours.shrink)
        self.local, self.learned = (nn.Sequential(*map(QnABlock, blocks)) for blocks in (ours.local, ours.learned))


class PlainQnAViT(nn.Module):
    def __init__(self, ours: fast.QnAViT) -> None:
        super().__init__()
        self.stem = nn.Conv2d(ours.in_chans, ours.stem.out_channels, fast.PATCH, fast.PATCH, bias=False)
        self.stages = nn.Sequential(*map(QnAStage, ours.stages))
        self.norm = nn.LayerNorm(ours.num_features, eps=1e-6)
        self.head = nn.Linear(ours.num_features, ours.num_classes)

    def forward(self, images: Images) -> Tensor:
        x = self.stages(self.stem(images).permute(0, 2, 3, 1))
        return self.head(self.norm(x).mean((1, 2)))
