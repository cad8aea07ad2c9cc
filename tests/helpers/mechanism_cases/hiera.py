"""Mask-unit attention, and timm's."""

from __future__ import annotations

import torch
from case import Case, Counted, Memory, Other
from layer_checks import attention_by_definition, site_of, with_weights_of
from places import BACKENDS, SMALL, across, at, sized
from timm.models.hiera import MaskUnitAttention as Timms
from torch.nn.functional import layer_norm, linear

from attnbench.mechanism import Macs
from attnbench.mechanisms.hiera import MaskUnitAttention


def by_definition(layer, x, *, unit=0, pool=1, **_):
    """softmax(q k / sqrt d) v, image by image, unit by unit, head by head, query by query, each the largest of some."""
    height, width, dim = x.shape[1:]
    y = layer_norm(x, (dim,), layer.norm.weight, layer.norm.bias, 1e-6)
    attended = x.new_zeros(len(x), -(-height // pool), -(-width // pool), dim)
    down, across_ = unit or height, unit or width
    for image in range(len(x)):
        for row in range(0, height, down):
            for column in range(0, width, across_):
                piece = (image, slice(row, row + down), slice(column, column + across_))
                q, k, v = linear(y[piece], layer.qkv.weight, layer.qkv.bias).chunk(3, -1)
                rows = [torch.stack([_largest(cell) for cell in row.split(pool, 1)]) for row in q.split(pool)]
                q, k, v = torch.stack(rows), k.flatten(0, 1), v.flatten(0, 1)
                z = attention_by_definition(q.flatten(0, 1), k, v, layer.site.heads).view(q.shape)
                top, left = row // pool, column // pool
                attended[image, top : top + len(q), left : left + q.shape[1]] = z
    return linear(attended, layer.proj.weight, layer.proj.bias)


def _largest(queries):
    return queries.flatten(0, 1).amax(0)


def timms(layer, x, *, unit=0, pool=1, **_):
    """What timm's layer makes of the normed map, whose tokens it takes with the units innermost."""
    if pool > 1:
        return _timms_pooled(layer, x, unit or layer.site.height, unit or layer.site.width, pool, masked=bool(unit))
    site = layer.site
    theirs = Timms(site.dim, site.dim, site.heads, window_size=unit**2, use_mask_unit_attn=bool(unit)).double()
    with_weights_of(theirs, layer, {"qkv": "qkv", "proj": "proj"})
    y = layer.norm(x)
    if not unit:
        return theirs(y.flatten(1, 2)).view(x.shape)
    rows, columns = site.height // unit, site.width // unit
    unrolled = y.view(len(x), rows, unit, columns, unit, -1).permute(0, 2, 4, 1, 3, 5)
    out = theirs(unrolled.reshape(len(x), site.tokens, -1)).view(unrolled.shape)
    return out.permute(0, 3, 1, 4, 2, 5).reshape(x.shape)


def _timms_pooled(layer, x, down, across_, pool, *, masked):
    site, y = layer.site, layer.norm(x)
    size = down * across_ // pool**2
    theirs = Timms(site.dim, site.dim, site.heads, q_stride=pool**2, window_size=size, use_mask_unit_attn=masked)
    with_weights_of(theirs.double(), layer, {"qkv": "qkv", "proj": "proj"})
    rows, columns = site.height // down, site.width // across_
    cells = y.view(len(x), rows, down // pool, pool, columns, across_ // pool, pool, -1)
    unrolled = cells.permute(0, 3, 6, 2, 5, 1, 4, 7)
    out = theirs(unrolled.reshape(len(x), site.tokens, -1)).view(len(x), *unrolled.shape[3:])
    return out.permute(0, 3, 1, 4, 2, 5).reshape(len(x), site.height // pool, site.width // pool, -1)


PLACES = across(sized((4, 6), (5, 7), (1, 1)), unit=(0, 2)) + across(sized((4, 6), (7, 5)), unit=(0, 2), pool=(2,))

CASE = Case(
    mechanism=MaskUnitAttention,
    definition=by_definition,
    defined_at=PLACES,
    usual=[at("7x5", site_of(7, 5), unit=3)],
    counted=[
        Counted(
            places=across(sized((4, 6), (5, 7)), unit=(0, 2), pool=(1, 2), backend=BACKENDS),
            parts={"addmm": "projections", "bmm": "attention"},
        )
    ],
    macs=[
        (SMALL, {}, Macs(projections=384, attention=288)),
        # Two units of 2 x 2 tokens, one of them lacking half.
        (SMALL, {"unit": 2}, Macs(projections=384, attention=2 * (16 + 4) * 4)),
        # Two queries are left of six: one of each unit.
        (SMALL, {"unit": 2, "pool": 2}, Macs(projections=(3 * 6 + 2) * 16, attention=2 * (4 + 2) * 4)),
    ],
    refused=[(SMALL, {"unit": -1}, "unit must be at least 0, got -1")],
    refused_by=["macs", "adaptation"],
    adaptations=[
        (site_of(56, 56, stride=4), {}, None),
        (site_of(30, 28, stride=8), {}, "units as small as 2x4, not 4x4"),
        (site_of(13, 15, stride=16), {}, None),
    ],
    others=[
        Other(name="timm's within units", places=across(sized((4, 6), (8, 4)), unit=(2,)), expected=timms),
        Other(name="timm's over the whole map", places=across(sized((4, 6), (5, 7)), unit=(0,)), expected=timms),
        Other(name="timm's pooled", places=across(sized((4, 6), (8, 4)), unit=(0, 2), pool=(2,)), expected=timms),
        Other(name="timm's pooled in large units", places=across(sized((8, 4)), unit=(4,), pool=(2,)), expected=timms),
    ],
    memory=[
        Memory(
            says="fused never makes the scores",
            place=at("28x28", site_of(28, 28, dim=8, heads=4), unit=7),
            largest=3 * 28 * 28 * 8,
        )
    ],
)
