"""Cascaded group attention, and timm's."""

from __future__ import annotations

import torch
from case import Case, Counted, Memory, Other
from layer_checks import site_of
from places import across, at, sized
from timm.models.efficientvit_msra import LocalWindowAttention
from torch.nn.functional import layer_norm, linear

from attnbench.mechanism import Macs
from attnbench.mechanisms.cga import CascadedGroupAttention


def window_by_definition(layer, window):
    """Head by head, query by query within a window (rows, columns, C)."""
    rows, columns, _ = window.shape
    places = [(i, j) for i in range(rows) for j in range(columns)]
    found, before = [], 0
    for head, part in zip(layer.heads, window.chunk(layer.site.heads, -1), strict=True):
        e = head.key_dim
        q, k, v = linear(part + before, head.qkv.weight, head.qkv.bias).split([e, e, layer.site.head_dim], -1)
        weight, border = head.local.weight[:, 0], head.local.weight.shape[-1] // 2
        out = torch.zeros_like(v)
        for i, j in places:
            query = head.local.bias
            for row, column in places:
                if abs(row - i) <= border and abs(column - j) <= border:
                    query = query + weight[:, row - i + border, column - j + border] * q[row, column]
            scores = [query @ k[p] / e**0.5 + head.bias[abs(p[0] - i), abs(p[1] - j)] for p in places]
            weights = torch.stack(scores).softmax(0)
            out[i, j] = sum(w * v[p] for w, p in zip(weights, places, strict=True))
        found.append(out)
        before = out
    return linear(torch.cat(found, -1).relu(), layer.proj.weight, layer.proj.bias)


def by_definition(layer, x, *, window=7, **_):
    """Window by window, zeros after the norm where the map ends before its windows do."""
    height, width, dim = x.shape[1:]
    y = layer_norm(x, (dim,), layer.norm.weight, layer.norm.bias, 1e-5)
    down, across_ = min(window, height), min(window, width)
    images = []
    for image in y:
        filled = image.new_zeros(-(-height // down) * down, -(-width // across_) * across_, dim)
        filled[:height, :width] = image
        out = torch.zeros_like(filled)
        for row in range(0, len(filled), down):
            for column in range(0, filled.shape[1], across_):
                piece = (slice(row, row + down), slice(column, column + across_))
                out[piece] = window_by_definition(layer, filled[piece])
        images.append(out[:height, :width])
    return torch.stack(images)


def timms(layer, x, *, window, key_dim, kernel):
    """What timm's layer, whose batch norms are made to change nothing, makes of the normed map."""
    site = layer.site
    theirs = LocalWindowAttention(
        site.dim,
        key_dim,
        site.heads,
        attn_ratio=site.head_dim / key_dim,
        resolution=max(site.height, site.width),
        window_resolution=window,
        kernels=(kernel,) * site.heads,
    ).double()
    pairs = [(theirs.attn.proj[1], layer.proj)]
    for one, two, head in zip(theirs.attn.qkvs, theirs.attn.dws, layer.heads, strict=True):
        pairs += [(one, head.qkv), (two, head.local)]
    for found, ours in pairs:
        found.conv.weight.data = ours.weight.detach().view(found.conv.weight.shape)
        found.bn.bias.data = ours.bias.detach()
        found.bn.weight.data.fill_(1)
        found.bn.running_var.fill_(1 - found.bn.eps)
    theirs.attn.attention_biases.data = torch.stack([head.bias.detach().flatten() for head in layer.heads])
    for module in theirs.modules():
        module.training = False  # timm's own eval() returns nothing for this layer
    return theirs(layer.norm(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


OPTIONS = {"window": (3,), "key_dim": (2,), "kernel": (3,)}
PLACES = across(sized((3, 6), (5, 4), (2, 7), (1, 1)), **OPTIONS)

CASE = Case(
    mechanism=CascadedGroupAttention,
    definition=by_definition,
    defined_at=PLACES,
    usual=[at("5x4", site_of(5, 4), window=3, key_dim=2, kernel=3)],
    counted=[
        Counted(
            places=PLACES,
            parts={"addmm": "projections", "mm": "projections", "bmm": "attention", "convolution": "other"},
        )
    ],
    counters_agree_at=PLACES[1:2],
    # 3 x 6 tokens of 8 channels in two heads of 4, two windows of 9.
    macs=[
        (
            site_of(3, 6),
            {"window": 3, "key_dim": 2, "kernel": 3},
            Macs(projections=18 * 8 * 8 + 18 * 64, attention=2 * 18 * 9 * 6, other=2 * 18 * 9 * 2),
        )
    ],
    refused=[
        (site_of(4, 4), {"window": 0}, "window must be at least 1, got 0"),
        (site_of(4, 4), {"key_dim": 0}, "key_dim must be at least 1, got 0"),
        (site_of(4, 4), {"kernel": 4}, "kernel must be odd and at least 1, got 4"),
    ],
    refused_by=["macs", "adaptation"],
    adaptations=[
        (site_of(14, 14), {}, None),
        (site_of(4, 16), {}, "window 7 made 4x7, padded 4x16 to 4x21 (window 4x7)"),
    ],
    others=[
        Other(
            name="timm's on whole and on padded windows",
            places=across(sized((3, 6), (5, 4), (3, 3)), **OPTIONS),
            expected=timms,
        )
    ],
    memory=[
        Memory(
            says="the scores of one head at a time",
            place=at("14x14", site_of(14, 14, dim=8, heads=2)),
            largest=196 * 49,
        )
    ],
)
