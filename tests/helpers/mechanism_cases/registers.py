"""Attention with registers, and timm's over the map and them."""

from __future__ import annotations

import torch
from case import Case, Counted, Memory, Other
from layer_checks import SITES, attention_by_definition, with_weights_of
from places import BACKENDS, MEMORY_SITE, SMALL, across, at
from timm.models.vision_transformer import Attention
from torch.nn.functional import layer_norm, linear

from attnbench.mechanism import Macs
from attnbench.mechanisms.registers import RegisterAttention


def by_definition(layer, x, **_):
    """Attention over the registers and the tokens of each image, one after the other."""
    images = []
    for image in x.flatten(1, 2):
        tokens = torch.cat([layer.registers, image])
        y = layer_norm(tokens, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        q, k, v = linear(y, layer.qkv.weight, layer.qkv.bias).chunk(3, -1)
        z = attention_by_definition(q, k, v, layer.site.heads)[len(layer.registers) :]
        images.append(linear(z, layer.proj.weight, layer.proj.bias))
    return torch.stack(images).view(x.shape)


def timms(layer, x, **_):
    """What timm's layer makes of the normed tokens, registers first."""
    theirs = Attention(layer.site.dim, num_heads=layer.site.heads, qkv_bias=True).double()
    with_weights_of(theirs, layer, {"qkv": "qkv", "proj": "proj"})
    tokens = torch.cat([layer.registers.expand(len(x), -1, -1), x.flatten(1, 2)], 1)
    return theirs(layer.norm(tokens))[:, len(layer.registers) :].view(x.shape)


PLACES = across({name: SITES[name] for name in ("odd", "one token")}, registers=(1, 4))

CASE = Case(
    mechanism=RegisterAttention,
    definition=by_definition,
    defined_at=PLACES,
    usual=[at("odd", SITES["odd"])],
    compiled_at=[at("odd", SITES["odd"])],
    counted=[
        Counted(
            places=across({"odd": SITES["odd"]}, backend=BACKENDS), parts={"addmm": "projections", "bmm": "attention"}
        )
    ],
    counters_agree_at=[at("odd", SITES["odd"])],
    # 6 tokens and 2 registers of 4 channels.
    macs=[(SMALL, {"registers": 2}, Macs(projections=4 * 8 * 16, attention=2 * 64 * 4))],
    refused=[(SMALL, {"registers": 0}, "registers must be at least 1, got 0")],
    refused_by=["macs", "mlp_tokens"],
    adaptations=[(SITES["odd"], {}, None)],
    others=[Other(name="timm's", places=PLACES, expected=timms)],
    memory=[
        Memory(
            says="unfused makes the scores of tokens and registers",
            place=at("16x16", MEMORY_SITE, backend="unfused"),
            largest=4 * 260**2,
        )
    ],
)
