"""HiLo attention."""

from __future__ import annotations

import torch
from case import Case, Counted, Memory
from layer_checks import attention_by_definition, site_of
from places import BACKENDS, across, at, sized
from torch.nn.functional import layer_norm, linear

from attnbench.mechanism import Macs
from attnbench.mechanisms.hilo import HiLoAttention


def windows(height, width, side):
    return [
        (slice(row, row + side), slice(column, column + side))
        for row in range(0, height, side)
        for column in range(0, width, side)
    ]


def by_definition(layer, x, *, window=2, **_):
    """Image by image: windows for the heads of high frequency, keys and values of window means for the others."""
    images = []
    for image in x:
        y = layer_norm(image, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-5)
        cut, parts = windows(*y.shape[:2], window), []
        if layer.high is not None:
            found = y.new_zeros(*y.shape[:2], layer.high.dim)
            for piece in cut:
                q, k, v = linear(y[piece].flatten(0, 1), layer.high.qkv.weight, layer.high.qkv.bias).chunk(3, -1)
                found[piece] = attention_by_definition(q, k, v, layer.high.heads).view(found[piece].shape)
            parts.append(linear(found, layer.high.proj.weight, layer.high.proj.bias))
        if layer.low is not None:
            means = torch.stack([y[piece].flatten(0, 1).mean(0) for piece in cut])
            k, v = linear(means, layer.low.kv.weight, layer.low.kv.bias).chunk(2, -1)
            q = linear(y.flatten(0, 1), layer.low.q.weight, layer.low.q.bias)
            found = attention_by_definition(q, k, v, layer.low.heads).view(*y.shape[:2], -1)
            parts.append(linear(found, layer.low.proj.weight, layer.low.proj.bias))
        images.append(torch.cat(parts, -1))
    return torch.stack(images)


PLACES = (
    *across(sized((4, 6), (5, 3), (1, 1)), alpha=(0.5,)),
    at("all low", site_of(3, 4), alpha=1.0),
    at("all high", site_of(3, 4), alpha=0.0),
    at("windows of a token", site_of(3, 4), window=1),
    at("windows of three", site_of(4, 5), window=3),
)

CASE = Case(
    mechanism=HiLoAttention,
    definition=by_definition,
    defined_at=PLACES,
    usual=[at("5x3", site_of(5, 3))],
    counted=[
        Counted(
            places=[
                *across(sized((4, 6), (5, 3)), alpha=(0.5,), backend=BACKENDS),
                at("windows of a token", site_of(3, 4), window=1),
            ],
            parts={"addmm": "projections", "bmm": "attention"},
        )
    ],
    counters_agree_at=[at("5x3", site_of(5, 3), alpha=0.5)],
    # 4 x 6 tokens of 8 channels, 4 in each part; 6 windows of 4 tokens.
    macs=[
        (
            site_of(4, 6),
            {"alpha": 0.5},
            Macs(
                projections=24 * 8 * (3 * 4 + 4) + 2 * 6 * 8 * 4 + 24 * 2 * 16,
                attention=2 * 6 * 16 * 4 + 2 * 24 * 6 * 4,
            ),
        ),
        # 298.30 M in a peer's table of one layer: 14 x 14 tokens, 768 channels, 12 heads, 10 of them Lo-Fi.
        (
            site_of(14, 14, dim=768, heads=12),
            {},
            Macs(projections=285_802_496, attention=12_493_824),
        ),
    ],
    refused=[
        (site_of(4, 6), {"window": 0}, "window must be at least 1, got 0"),
        (site_of(4, 6), {"alpha": 1.5}, "alpha must be from 0 to 1, got 1.5"),
    ],
    refused_by=["macs", "adaptation"],
    adaptations=[
        (site_of(14, 14), {}, None),
        (site_of(7, 8), {}, "windows as small as 1x2, not 2x2"),
    ],
    memory=[
        Memory(
            says="fused never makes the scores of Lo-Fi",
            place=at("16x16", site_of(16, 16, dim=16, heads=4), alpha=0.75),
            largest=256 * 16,
        )
    ],
)
