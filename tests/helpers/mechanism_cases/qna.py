"""Attention by learned queries, window by window."""

from __future__ import annotations

import math
from itertools import product

import torch
from case import Case, Counted, Memory, Other
from layer_checks import site_of
from places import SMALL, across, at, named
from plain import PlainQnA
from torch import Tensor
from torch.nn.functional import layer_norm

from attnbench.mechanism import Macs, Site
from attnbench.mechanisms.qna import QnA
from attnbench.mechanisms.qna.attention import LearnedQueryAttention


def windows_by_definition(scores: Tensor, values: Tensor, bias: Tensor, scale: Tensor, stride: int) -> Tensor:
    """z of the class's docstring for one image: (H, W, L, h), (H, W, h, d) to (rows, columns, h, d), by loops."""
    height, width, queries, heads = scores.shape
    border = bias.shape[-1] // 2
    rows = []
    for y, x in product(range(0, height, stride), range(0, width, stride)):
        inside = [
            (y + i, x + j, i + border, j + border)
            for i, j in product(range(-border, border + 1), repeat=2)
            if 0 <= y + i < height and 0 <= x + j < width
        ]
        for head in range(heads):
            total = 0
            for query in range(queries):
                logits = torch.stack([scores[a, b, query, head] + bias[query, head, i, j] for a, b, i, j in inside])
                learned = torch.stack([scale[query, head, i, j] for _, _, i, j in inside])
                window = torch.stack([values[a, b, head] for a, b, _, _ in inside])
                total = total + (logits.softmax(0) * learned) @ window
            rows.append(total)
    return torch.stack(rows).view(-(-height // stride), -(-width // stride), heads, -1)


def of_one_image(layer: LearnedQueryAttention, x: Tensor) -> Tensor:
    """One image, (H, W, in_dim), head by head, with keys."""
    key, value = x @ layer.key.T, x @ layer.value.weight.T
    scores = []
    for query in layer.query:
        parts = zip(query.chunk(layer.heads), key.chunk(layer.heads, -1), strict=True)
        scores.append(torch.stack([k @ (q / (q.norm() + 1e-6)) / math.sqrt(len(q)) for q, k in parts], -1))
    values = torch.stack(value.chunk(layer.heads, -1), 2)
    attended = windows_by_definition(torch.stack(scores, 2), values, layer.bias, layer.scale, layer.stride)
    return attended.flatten(2) @ layer.proj.weight.T


def by_definition(layer: QnA, x: Tensor, **_: object) -> Tensor:
    """(B, H, W, C): a layer norm, and the attention image by image."""
    normed = layer_norm(x, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
    return torch.stack([of_one_image(layer.attention, image) for image in normed])


MAPS = {"square": (6, 6), "odd": (5, 7), "wide": (1, 9), "one token": (1, 1)}

CASE = Case(
    mechanism=QnA,
    definition=by_definition,
    defined_at=[
        *across(named(MAPS, dim=6), window=(5,), queries=(3,)),
        at("narrow heads", site_of(3, 4, dim=6), head_dim=1),
    ],
    within=1e-9,
    gradients_within=1e-7,
    usual=[at("odd", site_of(5, 7, dim=6), window=3)],
    compiled_at=(),  # its own tests compile more of it
    half_precision_at=(),  # scores of any size are tested instead
    counted=[
        Counted(
            places=[
                place
                for options in ({"window": 3}, {"window": 5, "queries": 1}, {"window": 7, "queries": 3}, {"window": 1})
                for dim, heads in ((12, 3), (8, 8), (12, 1))
                for place in across(
                    named(MAPS, dim=dim, heads=heads), **{name: [value] for name, value in options.items()}
                )
            ],
            parts={"mm": "projections", "convolution": "attention"},
        )
    ],
    macs=[(SMALL, {}, Macs(projections=6 * (32 + 16), attention=6 * 2 * 6 * 9))],
    refused=[
        *(
            (site_of(8, 8), {name: value}, f"{name} must be .*at least 1.*, got {value}")
            for name, value in (("window", 2), ("window", 0), ("queries", 0), ("heads", 0), ("head_dim", -1))
        ),
        (site_of(8, 8), {"heads": 2, "head_dim": 8}, "heads=2 and head_dim=8 say the same thing twice"),
    ],
    adaptations=[(site_of(5, 7), {}, None)],
    others=[
        Other(
            name="plain formulation",
            places=across(named(MAPS, dim=6), window=(3,)),
            expected=lambda layer, x, **_: PlainQnA(layer)(x),
            rtol=1e-7,
            atol=1e-7,
        )
    ],
    memory=[
        Memory(
            says=f"windows of {window} make nothing larger than the map",
            place=at("24x20", Site(height=24, width=20, dim=8, heads=2), window=window),
            training=True,
            largest=24 * 20 * 8,
        )
        for window in (3, 7, 11)
    ],
)
