"""Shifted-window attention, timm's and torchvision's."""

from __future__ import annotations

import torch
from case import Case, Counted, Memory, Other
from layer_checks import FLOAT32_BYTES, site_of, with_weights_of
from places import BACKENDS, SMALL, WINDOWS_MEMORY, WINDOWS_QKV, WINDOWS_SCORES, Place, across, at, kinds, sized
from timm.models.swin_transformer import SwinTransformerBlock
from torch.nn.functional import layer_norm, linear, pad
from torchvision.models.swin_transformer import shifted_window_attention

from attnbench.mechanism import Macs
from attnbench.mechanisms.swin import ShiftedWindowAttention


def cut_by_definition(length, window, layer, way):
    """Window, padded length and shift of one side."""
    if length <= window:
        return length, length, 0
    return window, length + (-length) % window, window // 2 if layer % 2 and way != "none" else 0


def place_by_definition(token, padded, window, shift, way):
    """Which window a token of the padded map falls in, where in it, and whether the roll took it across the seam."""
    if way == "padded":  # no roll, and filled places are no keys: the first window of a shifted side is number -1
        return (token - shift) // window, (token - shift) % window, False
    rolled = (token - shift) % padded
    return rolled // window, rolled % window, token < shift


def by_definition(layer, x, *, window, shift="cyclic", **_):
    """Token by token: its window, its offset to every other token of it, and which end of the map each comes from."""
    site = layer.site
    m, height, shift_down = cut_by_definition(site.height, window, site.layer, shift)
    n, width, shift_across = cut_by_definition(site.width, window, site.layer, shift)
    y = layer_norm(x, (site.dim,), layer.norm.weight, layer.norm.bias)
    y = pad(y, (0, 0, 0, width - site.width, 0, height - site.height))
    q, k, v = linear(y, layer.qkv.weight, layer.qkv.bias).unflatten(-1, (3, site.heads, site.head_dim)).unbind(3)
    places = {
        (i, j): (
            place_by_definition(i, height, m, shift_down, shift),
            place_by_definition(j, width, n, shift_across, shift),
        )
        for i in range(height)
        for j in range(width)
    }
    rows = []
    for i, j in ((i, j) for i in range(site.height) for j in range(site.width)):
        (window_down, down, end_down), (window_across, across, end_across) = places[i, j]
        scores, values = [], []
        for (row, column), (
            (key_window_down, p, key_end_down),
            (key_window_across, r, key_end_across),
        ) in places.items():
            if (window_down, window_across) != (key_window_down, key_window_across):
                continue
            bias = layer.table[:, down - p + m - 1, across - r + n - 1]
            apart = (end_down, end_across) != (key_end_down, key_end_across)
            score = (q[:, i, j] * k[:, row, column]).sum(-1) / site.head_dim**0.5 + bias
            scores.append(score - 100.0 if apart else score)
            values.append(v[:, row, column])
        weights = torch.stack(scores).softmax(0)
        rows.append((weights[..., None] * torch.stack(values)).sum(0).flatten(1))
    return linear(torch.stack(rows, 1), layer.proj.weight, layer.proj.bias).view(x.shape)


def timms(layer, x, *, window, **_):
    """What timm's attention, which has no norm before it, makes of the normed map."""
    site = layer.site
    shift = window // 2 if site.layer % 2 else 0
    size = (site.height, site.width)
    block = SwinTransformerBlock(site.dim, size, site.heads, window_size=window, shift_size=shift).double()
    with_weights_of(block.attn, layer, {"qkv": "qkv", "proj": "proj"})
    block.attn.relative_position_bias_table.data = layer.table.detach().flatten(1).T
    return block._attn(layer.norm(x))


def relative_bias_by_definition(table, window):
    row, column = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    row, column = row.flatten(), column.flatten()
    return table[:, row[:, None] - row + window - 1, column[:, None] - column + window - 1]


def torchvisions(layer, x, *, window, **_):
    """What torchvision's shifted windows make of the normed map."""
    return shifted_window_attention(
        layer.norm(x),
        layer.qkv.weight,
        layer.proj.weight,
        relative_bias_by_definition(layer.table, window),
        window_size=[window, window],
        num_heads=layer.site.heads,
        shift_size=[window // 2, window // 2],
        qkv_bias=layer.qkv.bias,
        proj_bias=layer.proj.bias,
    )


def make_scores_large(layer):
    """Scores of several hundreds, so that -100 and -inf would differ."""
    layer.qkv.weight.data *= 20


MAPS = {
    "whole windows": (6, 6),
    "wide": (3, 12),
    "odd": (7, 5),
    "wide and odd": (4, 10),
    "smaller than the window": (2, 2),
    "smaller on one side": (2, 8),
    "as large as the window": (3, 3),
    "one token": (1, 1),
}


def places(maps: dict[str, tuple[int, int]], *windows: int) -> tuple[Place, ...]:
    """Return plain layers, shifted ones, and shifted ones that fill their windows."""
    return (
        across(kinds(maps, plain=0), window=windows)
        + across(kinds(maps, shifted=1), window=windows)
        + across(kinds(maps, shifted=1), window=windows, shift=("padded",))
    )


CASE = Case(
    mechanism=ShiftedWindowAttention,
    definition=by_definition,
    defined_at=places(MAPS, 3) + places({"5x7": (5, 7)}, 1, 2, 4),
    std=0.5,
    usual=across(kinds({"7x5": (7, 5)}, shifted=1), window=(3,)),
    counted=[
        Counted(
            places=across(
                kinds(MAPS, plain=0, shifted=1), window=(3,), shift=("cyclic", "padded", "none"), backend=BACKENDS
            ),
            parts={"addmm": "projections", "bmm": "attention"},
        )
    ],
    macs=[(SMALL, {}, Macs(projections=384, attention=288))],
    refused=[(site_of(7, 7), {"window": window}, f"window must be at least 1, got {window}") for window in (0, -7)],
    adaptations=[
        (site_of(56, 56, 1, stride=4), {}, None),
        (site_of(7, 7, 1, stride=32), {}, None),
        (site_of(64, 64, 0, stride=4), {}, "padded 64x64 to 70x70 (window 7)"),
        (site_of(4, 16, 0), {}, "window 7 made 4x7, padded 4x16 to 4x21 (window 4x7)"),
        (site_of(32, 32, 0), {"resolution_policy": "scaled"}, "window 7 made 16"),
        (site_of(14, 28, 0), {"resolution_policy": "scaled"}, "window 7 made 7x14"),
        (site_of(56, 56, 0, stride=4), {"resolution_policy": "scaled"}, None),
        (site_of(56, 56, 1, stride=4), {"shift": "padded"}, None),
        (site_of(64, 64, 1, stride=4), {"shift": "padded"}, "padded 64x64 to 70x70 (window 7)"),
    ],
    others=[
        Other(
            name="timm's on whole windows",
            places=across(
                kinds(
                    {"14x14": (14, 14), "7x7": (7, 7), "5x5": (5, 5), "7x21": (7, 21), "4x14": (4, 14)},
                    plain=0,
                    shifted=1,
                ),
                window=(7,),
            ),
            expected=timms,
            prepare=make_scores_large,
            rtol=1e-9,
            atol=1e-9,
        ),
        Other(
            name="timm's plain windows on a padded map",
            places=across(sized((9, 13), (15, 8), (3, 16)), window=(7,)),
            expected=timms,
            rtol=1e-10,
            atol=1e-10,
        ),
        Other(
            name="torchvision's shifted windows on a padded map",
            places=across(sized((9, 13), (15, 8), (14, 14), layer=1), window=(7,)),
            expected=torchvisions,
            rtol=1e-10,
            atol=1e-10,
        ),
    ],
    memory=[
        Memory(
            says="fused never makes the scores",
            place=at("28x28", WINDOWS_MEMORY[1], window=7),
            largest=WINDOWS_QKV,
        ),
        Memory(
            says="fused saves no scores",
            place=at("28x28", WINDOWS_MEMORY[1], window=7),
            saved_below=FLOAT32_BYTES * WINDOWS_SCORES / 2,
        ),
    ],
)
