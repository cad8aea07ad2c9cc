"""Linformer, and plain attention."""

from __future__ import annotations

import torch
from case import Case, Counted, Memory, Other
from layer_checks import SITES, attention_by_definition, site_of
from places import BACKENDS, across, at
from torch.nn.functional import layer_norm, linear

from attnbench.mechanism import Macs, Site
from attnbench.mechanisms.linformer import LinformerAttention
from attnbench.mechanisms.mhsa import MHSA


def mixtures(layer, kept):
    """E and F, which mix nothing on a map that is not projected."""
    if layer.site.tokens <= kept:
        return [torch.eye(layer.site.tokens, dtype=torch.float64)] * 2
    return [layer.mix.weight[0], layer.mix.weight[-1]]


def by_definition(layer, x, *, tokens, **_):
    """softmax(q (E K)^T / sqrt d) F V, image by image, head by head, query by query, mixture by mixture."""
    e, f = mixtures(layer, tokens)
    images = []
    for image in x.flatten(1, 2):
        y = layer_norm(image, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        q, k, v = linear(y, layer.qkv.weight, layer.qkv.bias).chunk(3, dim=-1)
        mixed_k = torch.stack([sum(e[r, j] * k[j] for j in range(len(k))) for r in range(len(e))])
        mixed_v = torch.stack([sum(f[r, j] * v[j] for j in range(len(v))) for r in range(len(f))])
        attended = attention_by_definition(q, mixed_k, mixed_v, layer.site.heads)
        images.append(linear(attended, layer.proj.weight, layer.proj.bias))
    return torch.stack(images).view(x.shape)


def multi_head(layer, x, **_):
    """What multi-head self-attention with the same weights makes of the map."""
    theirs = MHSA(layer.site).double()
    theirs.load_state_dict(layer.state_dict())
    return theirs(x)


ALL_SITES = SITES | {
    "one more than kept": Site(height=1, width=5, dim=6, heads=2),
    "as many as kept": Site(height=2, width=2, dim=6, heads=2),
}

SHARES = ("heads", "key-value")

MEMORY = Site(height=16, width=16, dim=16, heads=8)

CASE = Case(
    mechanism=LinformerAttention,
    definition=by_definition,
    defined_at=across(ALL_SITES, tokens=(4,), share=SHARES),
    gradients_within=1e-9,
    usual=across({"odd": SITES["odd"]}, tokens=(4,)),
    half_precision_at=across({"square": SITES["square"]}, tokens=(4,)),
    counted=[
        Counted(
            places=across(ALL_SITES, tokens=(4,), share=SHARES, backend=BACKENDS),
            parts={"addmm": "projections", "mm": "other", "bmm": "attention"},
        )
    ],
    macs=[
        (
            Site(height=2, width=4, dim=4, heads=2),
            {"tokens": 3},
            Macs(projections=512, attention=192, other=192),
        )
    ],
    refused=[(SITES["odd"], {"tokens": tokens}, f"tokens must be at least 1, got {tokens}") for tokens in (0, -1)],
    adaptations=[
        (site_of(side, side), {"tokens": tokens}, said)
        for side, tokens, said in [
            (17, 256, None),
            (16, 256, "not projected (tokens 256, map has 256)"),
            (7, 256, "not projected (tokens 256, map has 49)"),
            (7, 48, None),
        ]
    ],
    others=[
        Other(
            name="multi-head self-attention of no more tokens than are kept",
            places=across({"square": SITES["square"]}, tokens=(16, 17, 256)),
            expected=multi_head,
            rtol=1e-12,
            atol=1e-12,
        )
    ],
    memory=[
        Memory(
            says="fused never makes the scores",
            place=at("16x16", MEMORY, tokens=64, backend="sdpa"),
            largest=max(3 * 256 * 16, 64 * 256),
        ),
        Memory(
            says="unfused makes scores of every token to every mixture",
            place=at("16x16", MEMORY, tokens=64, backend="unfused"),
            largest=8 * 256 * 64,
        ),
    ],
)
