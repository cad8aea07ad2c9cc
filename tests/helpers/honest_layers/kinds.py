"""Honest layers that do what looks like a trick: caches by shape, folded weights, autotuning, random numbers."""

import time

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint


class Attention(nn.Module):
    """Plain attention, which those below change in one thing."""

    def __init__(self, dim, num_heads=8):
        super().__init__()
        self.heads = num_heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def split(self, x):
        batch, tokens, dim = x.shape
        return self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)

    def attend(self, q, k, v):
        return functional.scaled_dot_product_attention(q, k, v)

    def forward(self, x):
        return self.proj(self.attend(*self.split(x)).transpose(1, 2).reshape(x.shape))


def distances(tokens):
    places = torch.arange(tokens)
    return (places[:, None] - places[None, :]).abs()


class CachesAMask(Attention):
    """Keeps a mask of a neighbourhood for every number of tokens that it has met."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.masks = {}

    def attend(self, q, k, v):
        key = (q.shape[-2], q.device)
        if key not in self.masks:
            self.masks[key] = (distances(q.shape[-2]) < 9).to(q.device)
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=self.masks[key])


class IndexesABias(Attention):
    """A learned bias by relative position, whose index is a buffer that is built at the first call."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.table = nn.Parameter(0.1 * torch.randn(num_heads, 4096))
        self.register_buffer("index", None, persistent=False)

    def attend(self, q, k, v):
        if self.index is None or len(self.index) != q.shape[-2]:
            self.index = distances(q.shape[-2]).to(q.device)
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=self.table[:, self.index])


class FoldsWeights(Attention):
    """Folds the scale of its outputs into the projection at the first call that only infers."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.gamma = nn.Parameter(0.5 + torch.rand(dim))
        self.folded = None

    def forward(self, x):
        attended = self.attend(*self.split(x)).transpose(1, 2).reshape(x.shape)
        if self.training:
            return self.proj(attended) * self.gamma
        if self.folded is None:
            self.folded = (self.proj.weight * self.gamma[:, None]).detach(), (self.proj.bias * self.gamma).detach()
        return functional.linear(attended, *self.folded)


class Autotunes(Attention):
    """Tries two implementations at its first calls, then keeps the faster one."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.spent_s = {"fused": [], "written out": []}

    def written_out(self, q, k, v):
        return (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1) @ v

    def attend(self, q, k, v):
        chosen = min(self.spent_s, key=lambda name: (len(self.spent_s[name]) >= 2, min(self.spent_s[name], default=0)))
        started = time.perf_counter()
        y = (super().attend if chosen == "fused" else self.written_out)(q, k, v)
        if type(y) is torch.Tensor and not y.is_meta and len(self.spent_s[chosen]) < 2:
            self.spent_s[chosen].append(time.perf_counter() - started)
        return y


class DropsOut(Attention):
    """Drops parts of its output and whole images in training."""

    def forward(self, x):
        y = functional.dropout(super().forward(x), 0.2, self.training)
        return y * (torch.rand(len(x), 1, 1, device=x.device) > 0.2) if self.training else y


class NormsBatches(Attention):
    """Batch norm, whose statistics every training step changes."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, x):
        return super().forward(self.norm(x.transpose(1, 2)).transpose(1, 2))


class NormsSpectra(Attention):
    """Spectral norm, whose estimate every training step improves."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.qkv = parametrizations.spectral_norm(self.qkv)


class FollowsAMean(Attention):
    """Centres its map on a running mean, which every training step moves."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.register_buffer("mean", torch.zeros(dim))

    def forward(self, x):
        if self.training:
            self.mean.lerp_(x.detach().mean((0, 1)).to(self.mean.dtype), 0.01)
        return super().forward(x - self.mean)


class PoolsAtRandom(Attention):
    """Stochastic pooling of keys and values (Zeiler and Fergus, 2013), in evaluation too."""

    def attend(self, q, k, v):
        kept = torch.randint(k.shape[-2], (max(1, k.shape[-2] // 2),), device=k.device)
        return super().attend(q, k[..., kept, :], v[..., kept, :])


class OwnGenerator(Attention):
    """Draws from a generator of its own, which nobody seeds again."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.generator = torch.Generator().manual_seed(0)

    def __deepcopy__(self, memo):
        raise TypeError("a generator cannot be copied")

    def forward(self, x):
        if x.is_meta:
            return super().forward(x)
        return super().forward(x + 0.1 * torch.randn(x.shape, generator=self.generator).to(x))


class ReadsTheGenerator(Attention):
    """Seeds a generator by torch's, as layers do that draw the same features at every call."""

    def attend(self, q, k, v):
        if type(q) is not torch.Tensor or q.is_meta:
            return super().attend(q, k, v)
        generator = torch.Generator().manual_seed(torch.initial_seed() % 2**31)
        rotated = torch.linalg.qr(torch.randn(q.shape[-1], q.shape[-1], generator=generator))[0].to(q)
        return super().attend(q @ rotated, k @ rotated, v)


class CompilesInside(Attention):
    """Has a graph of its own for the products."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.compiled = torch.compile(lambda q, k, v: (q @ k.transpose(-2, -1) * 0.1).softmax(-1) @ v, dynamic=False)

    def attend(self, q, k, v):
        return self.compiled(q, k, v)


class ReturnsAView(nn.Module):
    """No attention at all: the map itself, seen from the other side."""

    layout = "BNC"

    def __init__(self, dim, num_heads=8):
        super().__init__()

    def forward(self, x):
        return x.transpose(1, 2).transpose(1, 2)


class ReturnsItsInput(nn.Module):
    layout = "BNC"

    def __init__(self, dim, num_heads=8):
        super().__init__()

    def forward(self, x):
        return x


class ChannelsLast(nn.Module):
    """Convolutions of maps that lie as (B, H, W, C)."""

    layout = "BCHW"

    def __init__(self, dim, num_heads=8):
        super().__init__()
        self.mix, self.proj = nn.Conv2d(dim, dim, 3, padding=1, groups=dim), nn.Conv2d(dim, dim, 1)
        self.to(memory_format=torch.channels_last)

    def forward(self, x):
        return self.proj(functional.gelu(self.mix(x.to(memory_format=torch.channels_last))))


class Checkpoints(Attention):
    """Keeps nothing for the backward pass, and computes it again, with the same random numbers."""

    def forward(self, x):
        def run(x):
            return functional.dropout(Attention.forward(self, x), 0.1, self.training)

        return checkpoint(run, x, use_reentrant=False) if self.training else run(x)


class Routes(Attention):
    """Sends each token to one of two projections: a hard choice, which rounding can turn."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.router, self.other = nn.Linear(dim, 2), nn.Linear(dim, dim)

    def forward(self, x):
        first = (self.router(x).argmax(-1, keepdim=True) == 0).to(x.dtype)
        attended = self.attend(*self.split(x)).transpose(1, 2).reshape(x.shape)
        return first * self.proj(attended) + (1 - first) * self.other(attended)


class Quantises(Attention):
    """Rounds its values to 8 bits, straight through for gradients."""

    def attend(self, q, k, v):
        scale = v.detach().abs().amax() / 127
        rounded = v + ((v / scale).round() * scale - v).detach()
        return super().attend(q, k, rounded)


class TakesPowers(Attention):
    """Subtracts what is nearly equal: float32 has few digits of it."""

    def forward(self, x):
        y = super().forward(x)
        return (1000 + y).square() - 1000**2


class DividesByNothing(Attention):
    """Divides by a variance that is zero but for rounding, as batch norm does of equal values."""

    def forward(self, x):
        y = super().forward(x)
        same = (y + 1e4) - y
        return (same - same.mean()) * 1e6 + 1e-3 * y


class SumsInOrder(Attention):
    """A recurrent state over all tokens, which adds up their rounding."""

    def forward(self, x):
        y = super().forward(x)
        return y.cumsum(1) / x.shape[1]


class LinearStates(Attention):
    """Linear attention with a normaliser that may come near zero."""

    def attend(self, q, k, v):
        q, k = functional.elu(q) + 1, functional.elu(k) + 1
        return (q @ (k.transpose(-2, -1) @ v)) / (q @ k.sum(-2)[..., None])
