"""Layers whose multiply-adds are not what their row would say."""

import torch
from honest import Attention
from torch import nn

from attnbench.mechanism import Macs, Mechanism


@torch.library.custom_op("adversary::attend", mutates_args=())
def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return nn.functional.scaled_dot_product_attention(q, k, v)


@attend.register_fake
def _(q, k, v):
    return torch.empty_like(q)


class OwnOperator(nn.Module):
    """Attends in an operator that no counter knows."""

    layout = "BNC"

    def __init__(self, dim):
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)

    def forward(self, x):
        q, k, v = (each.contiguous() for each in self.qkv(x).chunk(3, -1))
        return attend(q, k, v)


class FourierMixing(nn.Module):
    """Mixes tokens by a Fourier transform, and has next to no products."""

    layout = "BHWC"

    def __init__(self, dim):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return torch.fft.fft2(x, dim=(1, 2)).real * self.scale


class ElementwiseProducts(nn.Module):
    """Attends to its neighbour by products that nothing sums."""

    layout = "BNC"

    def __init__(self, dim):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return (x * x.roll(1, 1)).relu() * self.scale


class LowFormula(Mechanism):
    """Says that it multiplies half as often as it does."""

    def __init__(self, site):
        super().__init__(site)
        self.attend = Attention(site.dim, site.heads)

    def forward(self, x):
        return self.attend(x.flatten(1, 2)).view_as(x)

    @classmethod
    def macs(cls, site):
        return Macs(projections=2 * site.tokens * site.dim**2, attention=site.tokens**2 * site.dim)
