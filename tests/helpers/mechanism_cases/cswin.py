"""Cross-shaped windows."""

from __future__ import annotations

import torch
from case import Case, Counted, Memory
from layer_checks import attention_by_definition, site_of
from places import BACKENDS, across, at, sized
from torch.nn.functional import layer_norm, linear

from attnbench.mechanism import Macs
from attnbench.mechanisms.cswin import CrossShapedAttention


def position_by_definition(values, convolution):
    """The depthwise 3 x 3 convolution of a stripe's values (rows, columns, channels), token by token."""
    rows, columns, _ = values.shape
    out = torch.zeros_like(values)
    for row in range(rows):
        for column in range(columns):
            total = convolution.bias
            for i in (-1, 0, 1):
                for j in (-1, 0, 1):
                    if 0 <= row + i < rows and 0 <= column + j < columns:
                        total = total + convolution.weight[:, 0, 1 + i, 1 + j] * values[row + i, column + j]
            out[row, column] = total
    return out


def striped(maps, *, stripe, heads, convolution):
    """Attention within stripes of rows of one image's queries, keys and values, (H, W, channels) each."""
    parts = []
    for row in range(0, len(maps[0]), stripe):
        piece = [each[row : row + stripe] for each in maps]
        attended = attention_by_definition(*(each.flatten(0, 1) for each in piece), heads).view(piece[2].shape)
        parts.append(attended + position_by_definition(piece[2], convolution))
    return torch.cat(parts)


def by_definition(layer, x, *, stripe=7, **_):
    """Image by image: rows in stripes for the first half of the heads, columns for the second."""
    heads, d = layer.site.heads, layer.site.head_dim
    first = -(-heads // 2)
    y = layer_norm(x, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-5)
    images = []
    for image in y:
        q, k, v = linear(image, layer.qkv.weight, layer.qkv.bias).chunk(3, -1)
        rows = [each[..., : first * d] for each in (q, k, v)]
        halves = [striped(rows, stripe=stripe, heads=first, convolution=layer.rows.position)]
        if heads > first:
            turned = [each[..., first * d :].transpose(0, 1) for each in (q, k, v)]
            vertical = striped(turned, stripe=stripe, heads=heads - first, convolution=layer.columns.position)
            halves.append(vertical.transpose(0, 1))
        images.append(linear(torch.cat(halves, -1), layer.proj.weight, layer.proj.bias))
    return torch.stack(images)


PLACES = (
    *across(sized((4, 6), (5, 3), (1, 1)), stripe=(1, 2)),
    at("three heads", site_of(3, 4, dim=6, heads=3), stripe=2),
    at("one head", site_of(3, 4, heads=1), stripe=2),
)

CASE = Case(
    mechanism=CrossShapedAttention,
    definition=by_definition,
    defined_at=PLACES,
    usual=[at("5x3", site_of(5, 3), stripe=2)],
    counted=[
        Counted(
            places=across(sized((4, 6), (5, 3)), stripe=(2,), backend=BACKENDS),
            parts={"addmm": "projections", "bmm": "attention", "convolution": "other"},
        )
    ],
    counters_agree_at=[at("5x3", site_of(5, 3), stripe=2)],
    # 4 x 6 tokens of 8 channels, stripes of 2: s (H + W) N C.
    macs=[
        (site_of(4, 6), {"stripe": 2}, Macs(projections=6144, attention=2 * 10 * 24 * 8, other=9 * 24 * 8)),
        # 493.28 M in a peer's table of one layer.
        (
            site_of(14, 14, dim=768, heads=12),
            {},
            Macs(projections=462_422_016, attention=29_503_488, other=1_354_752),
        ),
    ],
    refused=[(site_of(4, 6), {"stripe": 0}, "stripe must be at least 1, got 0")],
    refused_by=["macs", "adaptation"],
    adaptations=[
        (site_of(56, 56, stride=4), {}, None),
        (site_of(14, 14), {}, None),
        (site_of(15, 13), {}, "a last stripe of 1 rows, 6 columns, not 7"),
        (site_of(15, 13, heads=1), {}, "a last stripe of 1 rows, not 7"),
    ],
    memory=[
        Memory(
            says="fused never makes the scores",
            place=at("28x28", site_of(28, 28, dim=8, heads=4), stripe=7),
            largest=3 * 28 * 28 * 8,
        )
    ],
)
