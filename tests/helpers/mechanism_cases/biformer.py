"""Bi-level routing."""

from __future__ import annotations

from itertools import product

import torch
from case import Case, Counted, Memory
from layer_checks import site_of
from places import BACKENDS, across, at, sized
from torch.nn.functional import conv2d, layer_norm, linear

from attnbench.mechanism import Macs
from attnbench.mechanisms.biformer import BiLevelRoutingAttention


def by_definition(layer, x, *, regions=7, topk="auto", **_):
    """The formula of the class's docstring, image by image, region by region, head by head."""
    height, width, dim = x.shape[1:]
    tall, wide = -(-height // regions), -(-width // regions)
    cut = [
        (slice(row, row + tall), slice(column, column + wide))
        for row, column in product(range(0, height, tall), range(0, width, wide))
    ]
    wanted = {4: 1, 8: 4, 16: 16}.get(layer.site.stride, len(cut)) if topk == "auto" else topk
    images = []
    for image in x:
        y = x.new_zeros(-(-height // tall) * tall, -(-width // wide) * wide, dim)
        y[:height, :width] = layer_norm(image, (dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        q, k, v = linear(y, layer.qkv.weight, layer.qkv.bias).chunk(3, -1)
        position = conv2d(
            v.permute(2, 0, 1), layer.position.weight, layer.position.bias, padding=2, groups=dim
        ).permute(1, 2, 0)
        z = torch.zeros_like(q)
        for piece in cut:
            suits = [(q[piece].mean((0, 1)) @ k[other].mean((0, 1))).item() for other in cut]
            chosen = sorted(range(len(cut)), key=lambda number: -suits[number])[:wanted]
            keys, values = (torch.cat([each[cut[number]].reshape(-1, dim) for number in chosen]) for each in (k, v))
            heads = []
            for queries, theirs, held in zip(
                *(each.chunk(layer.site.heads, -1) for each in (q[piece].reshape(-1, dim), keys, values)), strict=True
            ):
                weights = torch.exp(queries @ theirs.T / dim**0.5)
                heads.append(weights / weights.sum(-1, keepdim=True) @ held)
            z[piece] = torch.cat(heads, -1).view(z[piece].shape)
        images.append(linear(z + position, layer.proj.weight, layer.proj.bias)[:height, :width])
    return torch.stack(images)


PLACES = (
    *across(sized((4, 6), (5, 3)), regions=(2,), topk=(1, 3)),
    at("one token", site_of(1, 1)),
    at("all of them", site_of(6, 4), regions=2, topk=9),
)

CASE = Case(
    mechanism=BiLevelRoutingAttention,
    definition=by_definition,
    defined_at=PLACES,
    usual=[at("5x3", site_of(5, 3), regions=2, topk=2)],
    half_precision_at=[at("all of them", site_of(6, 4), regions=2, topk=9)],  # rounding turns what suits best
    compiled_at=[at("5x3", site_of(5, 3), regions=2, topk=2)],
    counted=[
        Counted(
            places=across(sized((4, 6), (5, 3)), regions=(2,), topk=(1, 3), backend=BACKENDS),
            parts={"addmm": "projections", "bmm": ("attention", "other"), "convolution": ("attention", "other")},
        )
    ],
    macs=[
        # 4 x 6 tokens of 8 channels in 2 x 2 regions of 6, 2 of them chosen.
        (
            site_of(4, 6),
            {"regions": 2, "topk": 2},
            Macs(projections=6144, attention=2 * 24 * 12 * 8, other=25 * 24 * 8 + 16 * 8),
        ),
    ],
    refused=[
        (site_of(4, 6), {"regions": 0}, "regions must be at least 1, got 0"),
        (site_of(4, 6), {"topk": 0}, "topk must be at least 1, got 0"),
    ],
    refused_by=["macs", "adaptation"],
    adaptations=[
        (site_of(14, 14), {}, None),
        (site_of(9, 14), {}, "padded 9x14 to 10x14, 5x7 regions"),
    ],
    memory=[
        Memory(
            says="keys and values are copied for each region that chose them",
            place=at("16x16", site_of(16, 16, dim=16, heads=1), regions=4, topk=4),
            largest=4 * 256 * 16,
        )
    ],
)
