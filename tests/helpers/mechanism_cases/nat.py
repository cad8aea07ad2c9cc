"""Attention to neighbours."""

from __future__ import annotations

from itertools import product

import torch
from case import Case, Counted, Memory, Other
from layer_checks import site_of
from places import SMALL, across, at, sized
from torch.nn.functional import layer_norm, linear, scaled_dot_product_attention

from attnbench.mechanism import Macs
from attnbench.mechanisms.nat import NeighborhoodAttention


def nearest(place, length, window):
    """The run of so many places of a side whose middle is nearest to a place of it."""
    starts = range(max(1, length - window + 1))
    start = min(starts, key=lambda first: abs(first + window // 2 - place))
    return range(start, min(start + window, length))


def neighbours(token, length, window, dilation):
    """The tokens of a side that one of them attends to, each with its offset in steps of the dilation."""
    group = [other for other in range(length) if other % dilation == token % dilation]
    return [(group[near], near - group.index(token)) for near in nearest(group.index(token), len(group), window)]


def neighbourhood(layer, x, *, window, dilation):
    """The formula of the class's docstring, token by token, neighbour by neighbour."""
    height, width, dim = x.shape[1:]
    down, right = (max(1, min(dilation, length // window)) for length in (height, width))
    y = layer_norm(x, (dim,), layer.norm.weight, layer.norm.bias, 1e-5)
    q, k, v = (
        each.unflatten(-1, (layer.site.heads, -1)) for each in linear(y, layer.qkv.weight, layer.qkv.bias).chunk(3, -1)
    )
    tokens = []
    for row, column in product(range(height), range(width)):
        numerator, denominator = 0, 0
        for (i, up), (j, left) in product(
            neighbours(row, height, window, down), neighbours(column, width, window, right)
        ):
            score = (q[:, row, column] * k[:, i, j]).sum(-1) / layer.site.head_dim**0.5
            weight = torch.exp(score + layer.table[:, up + window - 1, left + window - 1]).unsqueeze(-1)
            numerator, denominator = numerator + weight * v[:, i, j], denominator + weight
        tokens.append((numerator / denominator).flatten(1))
    return linear(torch.stack(tokens, 1), layer.proj.weight, layer.proj.bias).view(x.shape)


def by_definition(layer, x, *, window=7, dilation=1, **_):
    return neighbourhood(layer, x, window=window, dilation=dilation)


def by_a_mask(layer, x, *, window=7, **_):
    """Attention of all to all under the mask that is public for FlexAttention (attention-gym's natten)."""
    height, width = x.shape[1:3]
    down, right = (torch.arange(side) for side in (height, width))
    row, column = (each.flatten() for each in torch.meshgrid(down, right, indexing="ij"))
    seen = True
    for place, side in ((row, height), (column, width)):
        middle = place.clamp(window // 2, side - 1 - window // 2)
        seen = seen & ((middle[:, None] - place).abs() <= window // 2)
    offsets = [(place - place[:, None] + window - 1).clamp(0, 2 * window - 2) for place in (row, column)]
    bias = layer.table[:, offsets[0], offsets[1]].masked_fill(~seen, -torch.inf)
    q, k, v = layer.qkv(layer.norm(x)).view(len(x), -1, 3, layer.site.heads, layer.site.head_dim).permute(2, 0, 3, 1, 4)
    z = scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return layer.proj(z.transpose(1, 2).reshape(x.shape))


PLACES = (
    *across(sized((5, 9), (1, 1)), window=(1, 3)),
    at("short side", site_of(2, 6), window=3),
    at("dilated", site_of(9, 7), window=3, dilation=2),
    at("dilated too far", site_of(4, 10), window=3, dilation=5),
)
COUNTED = [
    Counted(
        places=across(sized((4, 6), (9, 5)), window=(3, 7), dilation=(1, 2), backend=(backend,)),
        parts={"addmm": "projections", product_: "attention"},
    )
    for backend, product_ in (("unfolded", "bmm"), ("lean", "attend"))
]

CASE = Case(
    mechanism=NeighborhoodAttention,
    definition=by_definition,
    defined_at=PLACES,
    usual=[at("9x5", site_of(9, 5), window=3)],
    compiled_at=[at("9x5", site_of(9, 5), window=3)],
    counted=COUNTED,
    # 2 x 3 tokens of 4 channels, each with all of two rows.
    macs=[
        (SMALL, {"window": 3}, Macs(projections=384, attention=2 * 6 * 2 * 3 * 4)),
        (site_of(9, 9), {"window": 3}, Macs(projections=4 * 81 * 64, attention=2 * 81 * 9 * 8)),
    ],
    refused=[
        (SMALL, {"window": 2}, "window must be odd and at least 1, got 2"),
        (SMALL, {"dilation": 0}, "dilation must be at least 1, got 0"),
    ],
    refused_by=["macs", "adaptation"],
    adaptations=[
        (site_of(7, 8), {}, None),
        (site_of(4, 14), {}, "windows of 4x7, not 7x7"),
        (site_of(6, 20), {"window": 3, "dilation": 4}, "dilated by 2x4, not 4"),
    ],
    others=[
        Other(name="a mask", places=across(sized((7, 9), (16, 11)), window=(3, 7)), expected=by_a_mask),
    ],
    memory=[
        Memory(
            says="unfolded makes a copy of the map for every neighbour",
            place=at("14x14", site_of(14, 14), window=5, backend="unfolded"),
            largest=25 * 14 * 14 * 8,
        ),
        Memory(
            says="lean keeps nothing beside what the projections keep",
            place=at("56x56", site_of(56, 56, dim=32), window=7),
            saved_below=9 * 4 * 56 * 56 * 32,
        ),
    ],
)
