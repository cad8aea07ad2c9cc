"""Less attention, image by image and head by head."""

from __future__ import annotations

import torch
from case import Case, Counted
from layer_checks import site_of
from places import SMALL, at
from torch import Tensor, nn

from attnbench.mechanism import Macs
from attnbench.mechanisms.lavit import LessAttention
from attnbench.models.patches import PatchReduction


def layer_norm(rows: Tensor, norm: nn.LayerNorm) -> Tensor:
    mean, variance = rows.mean(-1, keepdim=True), rows.var(-1, keepdim=True, correction=0)
    return (rows - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias


def key_reduction(layer: LessAttention) -> int:
    return layer.reduce.reduction if isinstance(layer.reduce, PatchReduction) else 1


def reduced_keys(x: Tensor, layer: LessAttention) -> Tensor:
    """One image's normed map (H, W, C) to (n_k, C), patch by patch."""
    height, width, dim = x.shape
    r = key_reduction(layer)
    if r == 1:
        return x.reshape(-1, dim)
    patches = []
    for top in range(0, height, r):
        for left in range(0, width, r):
            patch = layer.reduce.conv.bias
            for i in range(min(r, height - top)):
                for j in range(min(r, width - left)):
                    patch = patch + layer.reduce.conv.weight[:, :, i, j] @ x[top + i, left + j]
            patches.append(patch)
    return layer_norm(torch.stack(patches), layer.reduce.norm)


def define(x: Tensor, layer: LessAttention, handed: Tensor | None, residual: Tensor | None = None):
    """One image (H, W, C) and the scores handed on (h, n_q, n_k), by the formulas of the paper."""
    heads, d = layer.site.heads, layer.site.dim // layer.site.heads
    y = layer_norm(x, layer.norm)
    tokens, keys = y.reshape(-1, x.shape[-1]), reduced_keys(y, layer)
    outputs, scores = [], []
    for head in range(heads):
        part = slice(head * d, (head + 1) * d)
        value = keys @ layer.value.weight[part].T + layer.value.bias[part]
        if hasattr(layer.attend, "query"):
            q = tokens @ layer.attend.query.weight[part].T + layer.attend.query.bias[part]
            k = keys @ layer.attend.key.weight[part].T + layer.attend.key.bias[part]
            a = q @ k.T / d**0.5
            a = a if residual is None else a + residual[head]
        else:
            mixed_over_keys = (layer.attend.theta.weight @ handed[head].T).T
            a = layer.attend.psi.weight @ mixed_over_keys
        weights = a.exp() / a.exp().sum(-1, keepdim=True)
        outputs.append(weights @ value)
        scores.append(a)
    out = torch.cat(outputs, -1) @ layer.project.weight.T + layer.project.bias
    return out.reshape(x.shape), torch.stack(scores)


def by_definition(layer: LessAttention, x: Tensor, **_: object) -> Tensor:
    """(B, H, W, C) of a layer that is handed nothing, image by image."""
    return torch.stack([define(image, layer, None)[0] for image in x])


PLACES = (
    at("square", site_of(4, 4)),
    at("reduced keys", site_of(5, 3), key_reduction=2),
    at("wide", site_of(2, 7)),
    at("one token", site_of(1, 1)),
)

CASE = Case(
    mechanism=LessAttention,
    definition=by_definition,
    defined_at=PLACES,
    within=1e-10,
    gradients_within=1e-7,
    usual=PLACES[1:2],
    compiled_at=(),  # its own tests compile more of it
    counted=[Counted(places=PLACES, parts={"addmm": ("projections", "other"), "bmm": "attention"})],
    macs=[(SMALL, {"key_reduction": 1}, Macs(projections=384, attention=288))],
    refused=[
        (site_of(4, 4), {"vanilla": 0}, "vanilla must be 'auto' or at least 1, got 0"),
        (site_of(4, 4), {"key_reduction": -1}, "key_reduction must be 'auto' or at least 1, got -1"),
    ],
    adaptations=[
        (
            site_of(15, 9, stride=4),
            {},
            "keys reduced by 2 a side, not 8; map padded to 16 x 10 before the key reduction",
        ),
    ],
)
