"""Differential attention, and timm's."""

from __future__ import annotations

from dataclasses import replace
from math import exp

import torch
from case import Case, Counted, Memory, Other
from layer_checks import SITES, site_of, with_weights_of
from places import BACKENDS, MEMORY_SITE, SMALL, across, at
from timm.layers import DiffAttention
from torch.nn.functional import layer_norm, linear

from attnbench.mechanism import Macs
from attnbench.mechanisms.diff import DifferentialAttention

LATE = replace(site_of(2, 3, 2), before=replace(site_of(4, 6, 1, dim=4), depth=2))
"""The fifth layer of its network: two layers stand in the stage before."""
PLACES = across({"square": SITES["square"], "odd": SITES["odd"], "one token": SITES["one token"], "late": LATE})


def weights_by_definition(query, keys):
    weights = torch.exp(keys @ query / len(query) ** 0.5)
    return weights / weights.sum()


def by_definition(layer, x, **_):
    """The formula of the class's docstring, image by image, head by head, query by query."""
    site, halves = layer.site, layer.site.head_dim // 2
    first = 0.8 - 0.6 * exp(-0.3 * (4 if site == LATE else 0))
    a, b, c, e = layer.gains
    gain = torch.exp(a @ b) - torch.exp(c @ e) + first
    images = []
    for image in x.flatten(1, 2):
        y = layer_norm(image, (site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        heads = []
        for q, k, v in zip(
            *(each.chunk(site.heads, -1) for each in linear(y, layer.qkv.weight).chunk(3, -1)), strict=True
        ):
            rows = []
            for query in q:
                one = weights_by_definition(query[:halves], k[:, :halves])
                two = weights_by_definition(query[halves:], k[:, halves:])
                z = (one - gain * two) @ v
                rows.append(z / (z.square().mean() + 1e-5).sqrt() * layer.head_norm.weight * (1 - first))
            heads.append(torch.stack(rows))
        images.append(linear(torch.cat(heads, -1), layer.proj.weight, layer.proj.bias))
    return torch.stack(images).view(x.shape)


def timms(layer, x, **_):
    """What timm's layer, which has no norm before it, makes of the normed map."""
    theirs = DiffAttention(layer.site.dim, num_heads=layer.site.heads, depth=layer.site.index).double()
    with_weights_of(theirs, layer, {"qkv": "qkv", "proj": "proj", "sub_norm": "head_norm"})
    for name, ours in zip(("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2"), layer.gains, strict=True):
        theirs.get_parameter(name).data = ours.detach()
    return theirs(layer.norm(x).flatten(1, 2)).view(x.shape)


CASE = Case(
    mechanism=DifferentialAttention,
    definition=by_definition,
    defined_at=PLACES,
    gradients_within=1e-7,
    usual=[at("odd", SITES["odd"])],
    half_precision_at=[at("square", SITES["square"])],
    counted=[
        Counted(
            places=across({"square": SITES["square"], "odd": SITES["odd"]}, backend=BACKENDS, qkv_bias=(True, False)),
            parts={"addmm": "projections", "mm": "projections", "bmm": "attention"},
        )
    ],
    macs=[
        (SMALL, {}, Macs(projections=384, attention=576)),
        (SMALL, {"backend": "unfused"}, Macs(projections=384, attention=288)),
    ],
    adaptations=[(SITES["odd"], {}, None)],
    others=[
        # timm sums the exponents of lambda in float32, whatever the type of the layer.
        Other(name="timm's", places=PLACES, expected=timms, rtol=1e-6, atol=1e-6)
    ],
    memory=[
        Memory(says="fused makes no scores", place=at("16x16", MEMORY_SITE), largest=3 * 256 * 16),
        Memory(
            says="unfused makes the scores of both maps",
            place=at("16x16", MEMORY_SITE, backend="unfused"),
            largest=2 * 4 * 256**2,
        ),
    ],
)
