"""Spatial-reduction attention, and timm's."""

from __future__ import annotations

import torch
from case import Case, Counted, Memory, Other
from layer_checks import FLOAT32_BYTES, PVT_STAGES, attention_by_definition, site_of, with_weights_of
from places import BACKENDS, SRA_MAP, SRA_MEMORY_SITE, across, at, in_every, sized
from timm.models.pvt_v2 import Attention
from torch.nn.functional import layer_norm, linear, pad

from attnbench.mechanism import Macs
from attnbench.mechanisms.sra import SpatialReductionAttention


def reduced_by_definition(layer, y, side):
    """The sum, over the tokens that there are in each patch, of a matrix for the token's place times the token."""
    if side == 1:
        return y.flatten(0, 1)
    conv, norm = layer.reduce.conv, layer.reduce.norm
    rows = []
    for top in range(0, y.shape[0], side):
        for left in range(0, y.shape[1], side):
            total = conv.bias
            for i, row in enumerate(y[top : top + side]):
                for j, token in enumerate(row[left : left + side]):
                    total = total + conv.weight[:, :, i, j] @ token
            rows.append(layer_norm(total, norm.normalized_shape, norm.weight, norm.bias, 1e-5))
    return torch.stack(rows)


def by_definition(layer, x, *, reduction, **_):
    """softmax(q k / sqrt d) v, image by image, head by head, query by query."""
    images = []
    for image in x:
        y = layer_norm(image, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        reduced = reduced_by_definition(layer, y, reduction)
        k, v = linear(reduced, layer.kv.weight, layer.kv.bias).chunk(2, dim=-1)
        q = linear(y.flatten(0, 1), layer.q.weight, layer.q.bias)
        attended = attention_by_definition(q, k, v, layer.site.heads)
        images.append(attended @ layer.proj.weight.T + layer.proj.bias)
    return torch.stack(images).view(x.shape)


def timms_layer(layer, reduction):
    """Timm's layer, which has no norm before it, with the same weights."""
    theirs = Attention(layer.site.dim, num_heads=layer.site.heads, sr_ratio=reduction, qkv_bias=True).double()
    names = {"q": "q", "kv": "kv", "proj": "proj"}
    if reduction > 1:
        names |= {"sr": "reduce.conv", "norm": "reduce.norm"}
    return with_weights_of(theirs, layer, names)


def timms(layer, x, *, reduction, **_):
    """What timm's layer makes of the normed map, padded with zeros to whole patches, where the map was."""
    height, width = x.shape[1:3]
    y = pad(layer.norm(x), (0, 0, 0, -width % reduction, 0, -height % reduction))
    theirs = timms_layer(layer, reduction)(y.flatten(1, 2), y.shape[1:3])
    return theirs.view(y.shape)[:, :height, :width]


PLACES = tuple(
    at(name, site_of(height, width), reduction=reduction)
    for name, (height, width, reduction) in {
        "whole patches": (4, 6, 2),
        "odd": (5, 7, 2),
        "patches of 3": (7, 6, 3),
        "one row": (1, 9, 4),
        "smaller than a patch": (2, 3, 4),
        "one token": (1, 1, 8),
        "not reduced": (3, 5, 1),
    }.items()
)

CASE = Case(
    mechanism=SpatialReductionAttention,
    definition=by_definition,
    defined_at=PLACES,
    usual=[at("7x5", site_of(7, 5))],
    counted=[
        Counted(
            places=in_every(place, backend=BACKENDS),
            parts={"addmm": ("projections", "other"), "bmm": "attention"},
        )
        for place in PLACES
    ],
    counters_agree_at=PLACES,
    # 4 x 6 tokens of 8 channels, patches of 2: 24 queries, 6 keys.
    macs=[(site_of(4, 6), {}, Macs(projections=3840, attention=2304, other=1536))],
    refused=[
        (site_of(4, 4), {"reduction": side}, f"reduction must be at least 1 or 'auto', got {side}") for side in (0, -2)
    ],
    refused_by=["macs", "adaptation"],
    adaptations=[
        *((site, {}, None) for site in PVT_STAGES.values()),
        (site_of(7, 5, stride=32), {}, None),
        (site_of(9, 5), {}, "padded 9x5 to 10x6 (reduction 2)"),
        (site_of(57, 56, stride=4), {}, "padded 57x56 to 64x56 (reduction 8)"),
        (site_of(1, 1, stride=4), {}, "padded 1x1 to 8x8 (reduction 8)"),
        (site_of(9, 6), {"reduction": 3, "backend": "unfused"}, None),
        (site_of(9, 6), {"reduction": 4}, "padded 9x6 to 12x8 (reduction 4)"),
    ],
    others=[
        Other(
            name="timm's on whole patches",
            places=[
                at(f"{height}x{width}-{side}", site_of(height, width), reduction=side)
                for height, width, side in [(8, 8, 8), (8, 12, 4), (6, 4, 2), (7, 5, 1), (16, 8, 8)]
            ],
            expected=timms,
        ),
        Other(
            name="timm's on the map padded with zeros after the norm",
            places=across(sized((7, 9), (4, 5), (2, 3), (1, 1), (5, 13)), reduction=(4,)),
            expected=timms,
        ),
    ],
    memory=[
        Memory(
            says="fused makes no scores forward or backward",
            place=at("32x32", SRA_MEMORY_SITE),
            training=True,
            largest=SRA_MAP,
        ),
        Memory(
            says="unfused makes the scores",
            place=at("32x32", SRA_MEMORY_SITE, backend="unfused"),
            largest=4 * 1024 * 256,
        ),
        Memory(
            says="fused saves no scores",
            place=at("32x32", SRA_MEMORY_SITE),
            saved_below=FLOAT32_BYTES * 4 * 1024 * 256 / 4,
        ),
    ],
)
