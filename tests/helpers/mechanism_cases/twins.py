"""Twins' attention in windows and to the reduced map, and timm's."""

from __future__ import annotations

from itertools import product

import torch
from case import Case, Counted, Memory, Other
from layer_checks import FLOAT32_BYTES, attention_by_definition, site_of, with_weights_of
from places import BACKENDS, across, at, kinds, sized
from timm.models.twins import GlobalSubSampleAttn, LocallyGroupedAttn
from torch.nn.functional import layer_norm, linear

from attnbench.mechanism import Macs
from attnbench.mechanisms.twins import TwinsAttention


def in_window(layer, y, i, j, side):
    """What token (i, j) gathers: places of its window beyond the map hold the biases of keys and values."""
    project = layer.gather.qkv
    top, left = i // side * side, j // side * side
    places = [(row, column) for row in range(top, top + side) for column in range(left, left + side)]
    inside = [y[row, column] if row < len(y) and column < y.shape[1] else 0 * y[0, 0] for row, column in places]
    _, keys, values = project(torch.stack(inside)).chunk(3, dim=-1)
    query, _, _ = project(y[i, j]).chunk(3)
    return attention_by_definition(query[None], keys, values, layer.site.heads)[0]


def reduced_by_definition(layer, y, side):
    """One token for each patch; its places beyond the map hold nothing."""
    if side == 1:
        return y.flatten(0, 1)
    conv, norm = layer.gather.reduce.conv, layer.gather.reduce.norm
    tokens = []
    for top in range(0, len(y), side):
        for left in range(0, y.shape[1], side):
            patch = y[top : top + side, left : left + side]
            weight = conv.weight[:, :, : len(patch), : patch.shape[1]]
            tokens.append(torch.einsum("rci,oirc->o", patch, weight) + conv.bias)
    return layer_norm(torch.stack(tokens), norm.normalized_shape, norm.weight, norm.bias, 1e-5)


def by_definition(layer, x, *, window, reduction, **_):
    """Image by image, token by token."""
    images = []
    for image in x:
        y = layer_norm(image, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        if layer.site.layer % 2 == 0:
            attended = torch.stack([in_window(layer, y, i, j, window) for i, j in product(*map(range, y.shape[:2]))])
        else:
            keys, values = layer.gather.kv(reduced_by_definition(layer, y, reduction)).chunk(2, dim=-1)
            attended = attention_by_definition(layer.gather.q(y).flatten(0, 1), keys, values, layer.site.heads)
        images.append(linear(attended, layer.proj.weight, layer.proj.bias))
    return torch.stack(images).view(x.shape)


def timms_output(layer, x, timms):
    y = layer.norm(x).flatten(1, 2)
    return timms(y, (layer.site.height, layer.site.width)).view(x.shape)


def timms_lsa(layer, x, *, window, **_):
    theirs = LocallyGroupedAttn(layer.site.dim, num_heads=layer.site.heads, ws=window).double()
    return timms_output(layer, x, with_weights_of(theirs, layer, {"qkv": "gather.qkv", "proj": "proj"}))


def timms_gsa(layer, x, *, reduction, **_):
    theirs = GlobalSubSampleAttn(layer.site.dim, num_heads=layer.site.heads, sr_ratio=reduction).double()
    names = {"q": "gather.q", "kv": "gather.kv", "proj": "proj"}
    if reduction > 1:
        names |= {"sr": "gather.reduce.conv", "norm": "gather.reduce.norm"}
    return timms_output(layer, x, with_weights_of(theirs, layer, names))


MAPS = {
    "whole patches": (6, 6),
    "odd": (7, 5),
    "odd on one side": (6, 5),
    "wide and odd": (4, 10),
    "smaller than a window": (2, 2),
    "one token": (1, 1),
}

USUAL = across(kinds({"odd": (7, 5)}, LSA=0, GSA=1), window=(3,), reduction=(2,))

MEMORY = {"LSA": site_of(28, 28, 0, dim=8, heads=4), "GSA": site_of(16, 16, 1, dim=8, heads=4)}

SCORES = {"LSA": 4 * 28 * 28 * 49, "GSA": 4 * 256 * 64}

CASE = Case(
    mechanism=TwinsAttention,
    definition=by_definition,
    defined_at=across(kinds(MAPS, LSA=0, GSA=1), window=(3,), reduction=(2,))
    + across(kinds({"5x7": (5, 7)}, LSA=0, GSA=1), window=(1,), reduction=(1,))
    + across(kinds({"5x7": (5, 7)}, LSA=0, GSA=1), window=(4,), reduction=(4,)),
    usual=USUAL,
    compiled_at=USUAL,
    exported_at=[USUAL[1]],
    counted=[
        Counted(
            places=across(kinds(MAPS, LSA=0, GSA=1), window=(3,), reduction=(2,), backend=BACKENDS),
            parts={"addmm": ("projections", "other"), "bmm": "attention"},
        )
    ],
    macs=[(site_of(2, 2, 1, stride=32), {}, Macs(projections=4 * 4 * 64, attention=2 * 16 * 8))],
    refused=[
        (site_of(7, 7, layer), {option: 0}, f"{option} must be at least 1.*got 0")
        for option in ("window", "reduction")
        for layer in (0, 1)
    ],
    adaptations=[
        (site_of(56, 56, 0, stride=4), {}, None),
        (site_of(56, 56, 1, stride=4), {}, None),
        (site_of(64, 64, 0, stride=4), {}, "padded 64x64 to 70x70 (window 7, padding attended to)"),
        (site_of(64, 64, 1, stride=4), {}, None),
        (site_of(4, 16, 0), {}, "padded 4x16 to 7x21 (window 7, padding attended to)"),
        (site_of(4, 17, 1, stride=4), {}, "padded 4x17 to 8x24 (reduction 8)"),
        (site_of(4, 16, 1), {"reduction": 3}, "padded 4x16 to 6x18 (reduction 3)"),
        (site_of(16, 16, 0), {"window": 8}, None),
    ],
    others=[
        Other(
            name="timm's in windows, on any map",
            places=across(sized((14, 14), (9, 13), (3, 16), (1, 1)), window=(7,)),
            expected=timms_lsa,
        ),
        Other(
            name="timm's to the reduced map, on whole patches",
            places=across(sized((8, 12), layer=1), reduction=(1, 2, 4)),
            expected=timms_gsa,
        ),
    ],
    # Narrow heads make the scores of both kinds more than twice as many as anything else of the layer.
    memory=[
        memory
        for kind, site in MEMORY.items()
        for memory in (
            Memory(
                says=f"{kind}: fused makes no scores forward or backward",
                place=at(kind, site, window=7, reduction=2),
                training=True,
                largest_below=SCORES[kind] / 2,
            ),
            Memory(
                says=f"{kind}: unfused makes the scores",
                place=at(kind, site, window=7, reduction=2, backend="unfused"),
                largest=SCORES[kind],
            ),
            Memory(
                says=f"{kind}: fused saves no scores",
                place=at(kind, site, window=7, reduction=2),
                saved_below=FLOAT32_BYTES * SCORES[kind] / 2,
            ),
        )
    ],
)
