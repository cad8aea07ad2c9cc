"""Performer's quotient of sums over keys."""

from __future__ import annotations

import torch
from case import Case, Counted, Memory
from layer_checks import SITES
from places import SMALL, across, at
from torch.nn.functional import layer_norm, linear

from attnbench.mechanism import Macs, Site
from attnbench.mechanisms.performer import PerformerAttention


def phi(w, x):
    """The paper's features of one vector."""
    return torch.exp(w @ x - x @ x / 2) / len(w) ** 0.5


def by_definition(layer, x, **_):
    """The quotient of sums over keys of phi(q) phi(k), image by image, head by head, query by query."""
    heads, d = layer.site.heads, layer.site.head_dim
    w = layer.features * d**0.25
    images = []
    for image in x.flatten(1, 2):
        y = layer_norm(image, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        qkv = linear(y, layer.qkv.weight, layer.qkv.bias).unflatten(-1, (3, heads, d))
        parts = []
        for q, k, v in (qkv[:, :, head].unbind(1) for head in range(heads)):
            of_keys = [phi(w, key / d**0.25) for key in k]
            for query in q:
                of_query = phi(w, query / d**0.25)
                weights = torch.stack([of_query @ of_key for of_key in of_keys])
                parts.append((weights[:, None] * v).sum(0) / weights.sum())
        z = torch.stack(parts).view(heads, -1, d).transpose(0, 1).flatten(1)
        images.append(linear(z, layer.proj.weight, layer.proj.bias))
    return torch.stack(images).view(x.shape)


ALL_SITES = SITES | {"one channel a head": Site(height=2, width=2, dim=3, heads=3)}

CASE = Case(
    mechanism=PerformerAttention,
    definition=by_definition,
    defined_at=across(ALL_SITES, features=(1, 5, "auto")),
    usual=[at("odd", SITES["odd"])],
    half_precision_at=[at("square", SITES["square"])],
    counted=[
        Counted(
            places=across(ALL_SITES, features=("auto", 5)),
            parts=dict.fromkeys(("addmm", "mm", "bmm"), ("projections", "attention")),
        ),
        Counted(places=[at("square", SITES["square"])], parts={"addmm": "projections", "bmm": "attention"}),
    ],
    macs=[(SMALL, {"features": 5}, Macs(projections=384, attention=480))],
    refused=[
        (SITES["odd"], {"features": features}, f"features must be at least 1 or auto, got {features}")
        for features in (0, -3)
    ],
    adaptations=[(SITES["odd"], {}, None)],
    memory=[
        Memory(
            says="nothing of tokens by tokens is made",
            place=at("24x24", Site(height=24, width=24, dim=16, heads=4), features=20),
            training=True,
            largest=4 * 576 * 20,
        )
    ],
)
