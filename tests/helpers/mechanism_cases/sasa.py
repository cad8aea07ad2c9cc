"""Attention in sliding windows."""

from __future__ import annotations

import math
from itertools import product

import torch
from case import Case, Counted, Memory
from layer_checks import site_of
from places import across, at, named
from torch.nn.functional import layer_norm

from attnbench.mechanism import Macs
from attnbench.mechanisms.sasa import StandAloneAttention


def by_definition(layer, x, **_):
    """The formula of the class's docstring, token by token, offset by offset."""
    height, width, dim = x.shape[1:]
    heads, window = layer.bias.shape[:2]
    border = window // 2
    y = layer_norm(x, (dim,), layer.norm.weight, layer.norm.bias, 1e-6)
    q, k, v = ((y @ weight.T).unflatten(-1, (heads, -1)) for weight in layer.qkv.weight.chunk(3))
    rows = []
    for row, column in product(range(height), range(width)):
        numerator, denominator = 0, 0
        for i, j in product(range(-border, border + 1), repeat=2):
            if 0 <= row + i < height and 0 <= column + j < width:
                score = (q[:, row, column] * k[:, row + i, column + j]).sum(-1) / math.sqrt(dim // heads)
                weight = torch.exp(score + layer.bias[:, i + border, j + border]).unsqueeze(-1)
                numerator = numerator + weight * v[:, row + i, column + j]
                denominator = denominator + weight
        rows.append((numerator / denominator).flatten(1))
    return (torch.stack(rows, 1) @ layer.proj.weight.T).view(x.shape)


MAPS = {
    "one tile": (4, 4),
    "uneven tiles": (9, 5),
    "one tile across, several down": (10, 2),
    "one row": (1, 11),
    "one token": (1, 1),
}

CASE = Case(
    mechanism=StandAloneAttention,
    definition=by_definition,
    defined_at=across(named(MAPS, dim=6), window=(1, 3, 7))
    + across({"one head": site_of(5, 4, dim=6, heads=1), "heads of one channel": site_of(5, 4, dim=6, heads=6)}),
    std=0.6,
    usual=[at("9x5", site_of(9, 5, dim=6))],
    half_precision_at=[at("9x5", site_of(9, 5, dim=6), window=7)],
    counted=[
        Counted(
            places=across(named(MAPS, dim=6), window=(1, 5), backend=(backend,)),
            parts={"mm": "projections", product: "attention"},
        )
        for backend, product in (("unfolded", "bmm"), ("lean", "attend"))
    ],
    # Offsets outside the map are counted.
    macs=[(site_of(3, 5), {"window": 7}, Macs(projections=4 * 15 * 64, attention=2 * 15 * 49 * 8))],
    refused=[
        (site_of(7, 7, dim=6), {"window": window}, f"window must be odd and at least 1, got {window}")
        for window in (2, 0, -3)
    ],
    adaptations=[(site_of(4, 4, dim=6), {"window": 15}, None)],
    memory=[
        Memory(
            says="unfolded makes a copy of the map for every offset",
            place=at("56x56", site_of(56, 56, dim=32), window=7, backend="unfolded"),
            largest=49 * 56 * 56 * 32,
        )
    ],
)
