"""ReLU linear attention, and timm's."""

from __future__ import annotations

import torch
from case import Case, Counted, Memory, Other
from layer_checks import FLOAT32_BYTES, SITES
from places import ONE_CHANNEL_A_HEAD, SMALL, across, at
from timm.models.efficientvit_mit import LiteMLA
from torch.nn.functional import layer_norm

from attnbench.mechanism import Macs, Site
from attnbench.mechanisms.linear import ReLULinearAttention
from attnbench.mechanisms.linear.attention import EPSILON


def aggregated_by_definition(layer, qkv):
    """The tokens around each token, weighted channel by channel, then mixed within each head's Q, K or V."""
    depthwise, pointwise = layer.aggregate.depthwise.weight, layer.aggregate.pointwise.weight
    height, width, _ = qkv.shape
    radius, d = depthwise.shape[-1] // 2, layer.site.head_dim
    rows = []
    for i in range(height):
        for j in range(width):
            around = torch.zeros_like(qkv[0, 0])
            for row in range(max(0, i - radius), min(height, i + radius + 1)):
                for column in range(max(0, j - radius), min(width, j + radius + 1)):
                    around = around + depthwise[:, 0, row - i + radius, column - j + radius] * qkv[row, column]
            parts = [
                pointwise[first : first + d, :, 0, 0] @ around[first : first + d] for first in range(0, len(around), d)
            ]
            rows.append(torch.cat(parts))
    return torch.stack(rows).view(qkv.shape)


def attended_by_definition(tokens, d):
    """Head by head and query by query: the mean of all values, weighted by ReLU(q) . ReLU(k)."""
    rows = []
    for query in tokens:
        parts = []
        for first in range(0, tokens.shape[1], 3 * d):
            q, k, v = query[first : first + d], tokens[:, first + d : first + 2 * d], tokens[:, first + 2 * d :][:, :d]
            weights = torch.stack([(q.relu() * key.relu()).sum() for key in k])
            parts.append((weights[:, None] * v).sum(0) / (weights.sum() + EPSILON))
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def by_definition(layer, x, **_):
    """N x N weights, image by image and scale by scale."""
    images = []
    for image in x:
        y = layer_norm(image, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        qkv = y @ layer.qkv.weight.T
        scales = [qkv] if layer.aggregate is None else [qkv, aggregated_by_definition(layer, qkv)]
        attended = [attended_by_definition(scale.flatten(0, 1), layer.site.head_dim) for scale in scales]
        images.append(torch.cat(attended, 1) @ layer.proj.weight.T + layer.proj.bias)
    return torch.stack(images).view(x.shape)


def timms_weights(layer):
    """Our weights under timm's names; its 1 x 1 convolutions are our linear maps."""
    state = {
        "qkv.conv.weight": layer.qkv.weight[..., None, None],
        "proj.conv.weight": layer.proj.weight[..., None, None],
    }
    if layer.aggregate is not None:
        state["aggreg.0.0.weight"] = layer.aggregate.depthwise.weight
        state["aggreg.0.1.weight"] = layer.aggregate.pointwise.weight
    return state


def timms_output(timms, layer, x):
    return timms(layer.norm(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def timms(layer, x, *, aggregation, **_):
    """What timm's layer without its batch norm makes of the normed map."""
    site, scales = layer.site, (aggregation,) if aggregation else ()
    theirs = LiteMLA(
        site.dim,
        site.dim,
        site.heads,
        dim=site.head_dim,
        use_bias=(False, True),
        norm_layer=(None, None),
        scales=scales,
        eps=EPSILON,
    )
    theirs.load_state_dict(timms_weights(layer) | {"proj.conv.bias": layer.proj.bias})
    return timms_output(theirs, layer, x)


ALL_SITES = SITES | ONE_CHANNEL_A_HEAD

QKV = 3 * 256 * 16

MEMORY = at("16x16", Site(height=16, width=16, dim=16, heads=4))


def assert_difference_is_short(ours, theirs):
    assert (ours - theirs).norm() <= 1e-4 * theirs.norm()


CASE = Case(
    mechanism=ReLULinearAttention,
    definition=by_definition,
    defined_at=across(ALL_SITES, aggregation=(0, 1, 3, 5)),
    within=1e-10,
    gradients_within=1e-7,
    usual=across({"odd": SITES["odd"]}, aggregation=(0, 5)),
    half_precision_at=(),  # gradients jump where a ReLU opens or closes by rounding
    compiled_within=(1e-4, 1e-4),
    counted=[
        Counted(
            places=across(ALL_SITES, aggregation=(0, 1, 5)),
            parts={"mm": "projections", "addmm": "projections", "bmm": "attention", "convolution": "other"},
        )
    ],
    macs=[
        (SMALL, {}, Macs(projections=480, attention=240, other=1944)),
        (SMALL, {"aggregation": 0}, Macs(projections=384, attention=120)),
    ],
    refused=[
        (
            SITES["square"],
            {"aggregation": aggregation},
            f"aggregation must be odd, or 0 for one scale, got {aggregation}",
        )
        for aggregation in (2, 4, -1, -5)
    ],
    refused_by=["macs"],
    adaptations=[(SITES["one token"], {}, None)],
    others=[
        Other(
            name="timm's",
            places=across({name: SITES[name] for name in ("square", "odd", "one token")}, aggregation=(0, 3, 5)),
            expected=timms,
            rtol=1e-4,
            atol=1e-5,
            dtype=torch.float32,
            assert_gradients=assert_difference_is_short,
        )
    ],
    memory=[
        Memory(
            says="no scores of tokens to tokens forward or backward",
            place=MEMORY,
            training=True,
            largest=QKV,
        ),
        Memory(
            says="what is saved is linear in the tokens",
            place=MEMORY,
            saved_below=8 * FLOAT32_BYTES * QKV,
        ),
    ],
)
