"""Linear spatial-reduction attention, and timm's."""

from __future__ import annotations

from math import ceil, floor

import torch
from case import Case, Counted, Memory, Other
from layer_checks import FLOAT32_BYTES, attention_by_definition, site_of, with_weights_of
from places import BACKENDS, SRA_MAP, SRA_MEMORY_SITE, across, at, in_every, sized
from timm.models.pvt_v2 import Attention
from torch.nn.functional import gelu, layer_norm, linear

from attnbench.mechanism import Macs
from attnbench.mechanisms.linear_sra import LinearSpatialReductionAttention


def pooled_by_definition(y, pool):
    """The mean of the tokens that each of the pooled map's touches, down and across."""
    height, width = y.shape[:2]
    bounds = [[(floor(i * side / pool), ceil((i + 1) * side / pool)) for i in range(pool)] for side in (height, width)]
    return torch.stack([y[a:b, c:d].flatten(0, 1).mean(0) for a, b in bounds[0] for c, d in bounds[1]])


def by_definition(layer, x, *, pool, **_):
    """softmax(q k / sqrt d) v, image by image, head by head, query by query."""
    dim, conv, norm = (layer.site.dim,), layer.reduce.conv, layer.reduce.norm
    images = []
    for image in x:
        y = layer_norm(image, dim, layer.norm.weight, layer.norm.bias, 1e-6)
        mixed = pooled_by_definition(y, pool) @ conv.weight[:, :, 0, 0].T + conv.bias
        reduced = gelu(layer_norm(mixed, dim, norm.weight, norm.bias, 1e-5))
        k, v = linear(reduced, layer.kv.weight, layer.kv.bias).chunk(2, dim=-1)
        q = linear(y.flatten(0, 1), layer.q.weight, layer.q.bias)
        attended = attention_by_definition(q, k, v, layer.site.heads)
        images.append(attended @ layer.proj.weight.T + layer.proj.bias)
    return torch.stack(images).view(x.shape)


def timms(layer, x, **_):
    """What timm's layer, which has no norm before it, makes of the normed map."""
    theirs = Attention(layer.site.dim, num_heads=layer.site.heads, linear_attn=True, qkv_bias=True).double()
    names = {"sr": "reduce.conv", "norm": "reduce.norm", "q": "q", "kv": "kv", "proj": "proj"}
    return with_weights_of(theirs, layer, names)(layer.norm(x).flatten(1, 2), x.shape[1:3]).view(x.shape)


PLACES = tuple(
    at(name, site_of(height, width), pool=pool)
    for name, (height, width, pool) in {
        "whole pools": (6, 9, 3),
        "pools that overlap": (5, 7, 3),
        "wide": (2, 11, 4),
        "smaller than the pooled map": (2, 3, 4),
        "as large as the pooled map": (3, 3, 3),
        "one token": (1, 1, 2),
        "one key": (4, 5, 1),
    }.items()
)

CASE = Case(
    mechanism=LinearSpatialReductionAttention,
    definition=by_definition,
    defined_at=PLACES,
    usual=[at("9x13", site_of(9, 13))],
    counted=[
        Counted(
            places=in_every(place, backend=BACKENDS),
            parts={"addmm": "projections", "bmm": "attention", "convolution": "other"},
        )
        for place in PLACES
    ],
    counters_agree_at=PLACES,
    # 4 x 6 tokens of 8 channels, pooled to 2 x 2: 24 queries, 4 keys.
    macs=[(site_of(4, 6), {"pool": 2}, Macs(projections=3584, attention=1536, other=256))],
    refused=[(site_of(7, 7), {"pool": pool}, f"pool must be at least 1, got {pool}") for pool in (0, -7)],
    refused_by=["macs"],
    adaptations=[(site_of(*size), {}, None) for size in [(56, 56), (9, 13), (3, 3), (1, 1)]],
    others=[
        Other(
            name="timm's",
            places=across(sized((14, 14), (7, 7), (21, 7), (9, 13), (8, 5), (3, 16), (1, 1))),
            expected=timms,
        )
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
            largest=4 * 1024 * 49,
        ),
        Memory(
            says="fused saves no scores",
            place=at("32x32", SRA_MEMORY_SITE),
            saved_below=FLOAT32_BYTES * 4 * 1024 * 49 / 2,
        ),
    ],
)
