"""Attention within blocks and within grids, and timm's."""

from __future__ import annotations

import torch
from case import Case, Counted, Memory, Other
from layer_checks import FLOAT32_BYTES, site_of, with_weights_of
from places import BACKENDS, SMALL, WINDOWS_MEMORY, WINDOWS_QKV, WINDOWS_SCORES, across, at, kinds
from timm.models.maxxvit import MaxxVitTransformerCfg, PartitionAttentionCl
from torch.nn.functional import layer_norm, linear

from attnbench.mechanism import Macs
from attnbench.mechanisms.maxvit import BlockGridAttention


def place_by_definition(token, length, window, index):
    """Which group along a side a token of the map padded to whole groups falls in, and where in it."""
    groups = -(-length // window)
    return (token // window, token % window) if index % 2 == 0 else (token % groups, token // groups)


def by_definition(layer, x, *, window, **_):
    """Token by token: which others its group holds, at what offsets; what pads the map is left out."""
    site = layer.site
    y = layer_norm(x, (site.dim,), layer.norm.weight, layer.norm.bias, 1e-5)
    q, k, v = linear(y, layer.qkv.weight, layer.qkv.bias).unflatten(-1, (3, site.heads, site.head_dim)).unbind(3)
    places = {
        (i, j): (
            place_by_definition(i, site.height, window, site.layer),
            place_by_definition(j, site.width, window, site.layer),
        )
        for i in range(site.height)
        for j in range(site.width)
    }
    rows = []
    for (i, j), ((group_down, down), (group_across, place_across)) in places.items():
        scores, values = [], []
        for (row, column), ((key_group_down, p), (key_group_across, r)) in places.items():
            if (group_down, group_across) == (key_group_down, key_group_across):
                bias = layer.table[:, down - p + window - 1, place_across - r + window - 1]
                scores.append((q[:, i, j] * k[:, row, column]).sum(-1) / site.head_dim**0.5 + bias)
                values.append(v[:, row, column])
        weights = torch.stack(scores).softmax(0)
        rows.append((weights[..., None] * torch.stack(values)).sum(0).flatten(1))
    return linear(torch.stack(rows, 1), layer.proj.weight, layer.proj.bias).view(x.shape)


def timms(layer, x, **_):
    """What timm's layer, which has no norm before it, makes of the normed map."""
    kind = ["block", "grid"][layer.site.layer]
    settings = MaxxVitTransformerCfg(dim_head=layer.site.head_dim, head_first=False, window_size=layer.sides[0])
    theirs = PartitionAttentionCl(layer.site.dim, kind, settings).double()
    with_weights_of(theirs.attn, layer, {"qkv": "qkv", "proj": "proj"})
    theirs.attn.rel_pos.relative_position_bias_table.data = layer.table.detach().flatten(1).T
    return theirs._partition_attn(layer.norm(x))


KINDS = kinds(
    {
        "whole groups": (6, 9),
        "odd": (7, 5),
        "odd on one side": (6, 5),
        "wide and odd": (4, 10),
        "smaller than the window": (2, 2),
        "smaller on one side": (2, 8),
        "as large as the window": (3, 3),
        "one token": (1, 1),
    },
    block=0,
    grid=1,
)

USUAL = across(kinds({"odd": (7, 5)}, block=0, grid=1), window=(3,))

CASE = Case(
    mechanism=BlockGridAttention,
    definition=by_definition,
    defined_at=across(KINDS, window=(3,)) + across(kinds({"5x7": (5, 7)}, block=0, grid=1), window=(1, 2, 4)),
    std=0.5,
    usual=USUAL,
    compiled_at=across(kinds({"7x3": (7, 3)}, block=0, grid=1), window=(3,)),
    exported_at=[USUAL[1]],
    counted=[
        Counted(
            places=across(KINDS, window=(3,), backend=BACKENDS),
            parts={"addmm": "projections", "bmm": "attention"},
        )
    ],
    macs=[(SMALL, {}, Macs(projections=384, attention=288))],
    refused=[(site_of(7, 7), {"window": window}, f"window must be at least 1, got {window}") for window in (0, -7)],
    adaptations=[
        (site_of(56, 56, 1, stride=4), {}, None),
        (site_of(7, 7, 0, stride=32), {}, None),
        (site_of(64, 64, 0, stride=4), {}, "blocks as small as 1x1, not 7x7"),
        (site_of(64, 64, 1, stride=4), {}, "grids as small as 6x6, not 7x7"),
        (site_of(4, 14, 1), {}, "grids as small as 4x7, not 7x7"),
        (site_of(32, 32, 1), {"resolution_policy": "scaled"}, "window 7 made 16"),
        (site_of(14, 28, 0), {"resolution_policy": "scaled"}, "window 7 made 7x14"),
        (
            site_of(15, 14, 0),
            {"window": 8, "resolution_policy": "scaled"},
            "window 8 made 9x8, blocks as small as 6x6, not 9x8",
        ),
        (site_of(56, 56, 0, stride=4), {"resolution_policy": "scaled"}, None),
    ],
    others=[
        Other(
            name="timm's",
            places=across(kinds({"14x14": (14, 14), "7x7": (7, 7), "7x21": (7, 21)}, block=0, grid=1), window=(7,)),
            expected=timms,
        )
    ],
    memory=[
        memory
        for kind, site in WINDOWS_MEMORY.items()
        for memory in (
            Memory(
                says=f"{('block', 'grid')[kind]}: fused never makes the scores",
                place=at("28x28", site, window=7),
                largest=WINDOWS_QKV,
            ),
            Memory(
                says=f"{('block', 'grid')[kind]}: unfused makes the scores",
                place=at("28x28", site, window=7, backend="unfused"),
                largest=WINDOWS_SCORES,
            ),
            Memory(
                says=f"{('block', 'grid')[kind]}: fused saves no scores",
                place=at("28x28", site, window=7),
                saved_below=FLOAT32_BYTES * WINDOWS_SCORES / 2,
            ),
        )
    ],
)
