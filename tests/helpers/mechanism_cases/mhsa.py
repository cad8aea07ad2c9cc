"""Multi-head self-attention, and timm's."""

from __future__ import annotations

import torch
from case import Case, Counted, Memory, Other
from layer_checks import FLOAT32_BYTES, SITES, attention_by_definition
from places import BACKENDS, MEMORY_SITE, SMALL, across, at
from timm.models.vision_transformer import Attention
from torch.nn.functional import layer_norm

from attnbench.mechanism import Macs
from attnbench.mechanisms.mhsa import MHSA


def by_definition(layer, x, **_):
    """softmax(q k / sqrt d) v, image by image, head by head, query by query."""
    images = []
    for image in x.flatten(1, 2):
        y = layer_norm(image, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        q, k, v = torch.nn.functional.linear(y, layer.qkv.weight, layer.qkv.bias).chunk(3, dim=-1)
        attended = attention_by_definition(q, k, v, layer.site.heads)
        images.append(attended @ layer.proj.weight.T + layer.proj.bias)
    return torch.stack(images).view(x.shape)


def timms(layer, x, **_):
    """What timm's layer, which has no norm before it, makes of the normed map."""
    theirs = Attention(layer.site.dim, num_heads=layer.site.heads, qkv_bias=True).double()
    theirs.load_state_dict({name: value for name, value in layer.state_dict().items() if not name.startswith("norm")})
    return theirs(layer.norm(x).flatten(1, 2)).view(x.shape)


CASE = Case(
    mechanism=MHSA,
    definition=by_definition,
    defined_at=across(SITES, qkv_bias=(True, False)),
    gradients_within=1e-9,
    usual=[at("odd", SITES["odd"])],
    half_precision_at=[at("square", SITES["square"])],
    compiled_within=(1.3e-6, 1e-5),
    counted=[
        Counted(places=across(SITES, backend=BACKENDS), parts={"addmm": "projections", "bmm": "attention"}),
    ],
    macs=[(SMALL, {}, Macs(projections=384, attention=288))],
    adaptations=[(SITES["odd"], {}, None)],
    others=[Other(name="timm's", places=[at("odd", SITES["odd"])], expected=timms)],
    memory=[
        Memory(
            says="fused makes no scores forward or backward",
            place=at("16x16", MEMORY_SITE),
            training=True,
            largest=3 * 256 * 16,
        ),
        Memory(
            says="unfused makes the scores",
            place=at("16x16", MEMORY_SITE, backend="unfused"),
            largest=4 * 256**2,
        ),
        Memory(
            says="fused saves no scores",
            place=at("16x16", MEMORY_SITE),
            saved_below=FLOAT32_BYTES * 4 * 256**2 / 4,
        ),
    ],
)
