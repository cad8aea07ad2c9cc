"""Cross-covariance attention, and timm's."""

from __future__ import annotations

from functools import partial

import torch
from case import Case, Counted, Memory, Other
from layer_checks import FLOAT32_BYTES, SITES
from places import BACKENDS, MEMORY_SITE, ONE_CHANNEL_A_HEAD, SMALL, across, at
from timm.models.xcit import XCA
from torch.nn.functional import layer_norm, linear

from attnbench.mechanism import Macs
from attnbench.mechanisms.xca import CrossCovarianceAttention


def by_definition(layer, x, **_):
    """Image by image, head by head, channel by channel: the cosine of two channels over the tokens weighs values."""
    heads, d = layer.site.heads, layer.site.head_dim
    images = []
    for image in x.flatten(1, 2):
        y = layer_norm(image, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        q, k, v = linear(y, layer.qkv.weight, layer.qkv.bias).chunk(3, dim=-1)
        columns = []
        for head in range(heads):
            channels = range(head * d, (head + 1) * d)
            for i in channels:
                cosines = [(q[:, i] * k[:, j]).sum() / (q[:, i].norm() * k[:, j].norm()) for j in channels]
                weights = torch.exp(layer.temperature[head] * torch.stack(cosines))
                columns.append(sum(w * v[:, j] for w, j in zip(weights / weights.sum(), channels, strict=True)))
        images.append(torch.stack(columns, 1) @ layer.proj.weight.T + layer.proj.bias)
    return torch.stack(images).view(x.shape)


def set_apart(layer):
    """Make the temperatures large enough that attention is far from uniform."""
    torch.nn.init.uniform_(layer.temperature, 2, 6)


def timms(layer, x, **_):
    """What timm's layer, which has no norm before it, makes of the normed map."""
    theirs = XCA(layer.site.dim, num_heads=layer.site.heads, qkv_bias=True).double()
    weights = {key: value for key, value in layer.state_dict().items() if not key.startswith("norm")}
    theirs.load_state_dict(weights | {"temperature": layer.temperature.view(-1, 1, 1)})
    return theirs(layer.norm(x).flatten(1, 2)).view(x.shape)


ALL_SITES = SITES | ONE_CHANNEL_A_HEAD

QKV = 3 * 256 * 16

CASE = Case(
    mechanism=CrossCovarianceAttention,
    definition=by_definition,
    defined_at=across(ALL_SITES, qkv_bias=(True, False)),
    gradients_within=1e-9,
    prepare=set_apart,
    usual=[at("odd", SITES["odd"])],
    half_precision_at=[at("square", SITES["square"])],
    counted=[
        Counted(
            places=across(ALL_SITES, backend=BACKENDS),
            parts={"addmm": "projections", "mm": "projections", "bmm": "attention"},
        )
    ],
    macs=[(SMALL, {}, Macs(projections=384, attention=96))],
    adaptations=[(SITES["odd"], {}, None)],
    others=[
        Other(
            name="timm's",
            places=across({name: SITES[name] for name in ("square", "odd", "one token")}),
            expected=timms,
            assert_gradients=partial(torch.testing.assert_close, rtol=1e-9, atol=1e-10),
        )
    ],
    memory=[
        memory
        for backend in BACKENDS
        for memory in (
            Memory(
                says=f"{backend}: nothing larger than queries, keys and values forward or backward",
                place=at("16x16", MEMORY_SITE, backend=backend),
                training=True,
                largest=QKV,
            ),
            Memory(
                says=f"{backend}: what is saved is linear in the tokens",
                place=at("16x16", MEMORY_SITE, backend=backend),
                saved_below=4 * FLOAT32_BYTES * QKV,
            ),
        )
    ],
)
