"""Agent attention."""

from __future__ import annotations

from math import ceil, floor

import torch
from case import Case, Counted, Memory
from layer_checks import site_of
from places import BACKENDS, SMALL, across, at, sized
from torch.nn.functional import layer_norm, linear

from attnbench.mechanism import Macs
from attnbench.mechanisms.agent import AgentAttention


def interpolated(coarse, height, width):
    """A 7 x 7 map of numbers read between its cells, whose centres lie half a cell from its edges."""

    def near(place, length):
        at_ = min(max((place + 0.5) * 7 / length - 0.5, 0), 6)
        low = min(floor(at_), 5)
        return low, at_ - low

    out = coarse.new_zeros(height, width)
    for row in range(height):
        for column in range(width):
            (i, down), (j, right) = near(row, height), near(column, width)
            top = coarse[i, j] * (1 - right) + coarse[i, j + 1] * right
            bottom = coarse[i + 1, j] * (1 - right) + coarse[i + 1, j + 1] * right
            out[row, column] = top * (1 - down) + bottom * down
    return out


def bias_by_definition(bias, head, agent, height, width):
    """The bias of one agent in one head, (H, W) in a row."""
    total = interpolated(bias.coarse[head, agent], height, width) + bias.row[head, agent] + bias.column[head, agent]
    return total.flatten()


def attended(q, k, v, bias):
    weights = torch.exp(q @ k.T / q.shape[-1] ** 0.5 + bias)
    return weights / weights.sum(-1, keepdim=True) @ v


def by_definition(layer, x, *, pool=7, **_):
    """The formula of the class's docstring, image by image, head by head."""
    height, width, dim = x.shape[1:]
    bounds = [[(floor(i * side / pool), ceil((i + 1) * side / pool)) for i in range(pool)] for side in (height, width)]
    images = []
    for image in x:
        y = layer_norm(image, (dim,), layer.norm.weight, layer.norm.bias, 1e-5)
        q, k, v = linear(y, layer.qkv.weight, layer.qkv.bias).chunk(3, -1)
        agents = torch.stack([q[a:b, c:d].flatten(0, 1).mean(0) for a, b in bounds[0] for c, d in bounds[1]])
        heads = []
        split = [each.reshape(-1, dim).chunk(layer.site.heads, -1) for each in (q, k, v, agents)]
        for head, (queries, keys, values, asked) in enumerate(zip(*split, strict=True)):
            gather, hand_out = (
                torch.stack([bias_by_definition(bias, head, n, height, width) for n in range(pool**2)])
                for bias in (layer.gather_bias, layer.hand_out_bias)
            )
            heads.append(attended(queries, asked, attended(asked, keys, values, gather), hand_out.T))
        z = torch.cat(heads, -1).view(height, width, dim)
        local = torch.nn.functional.conv2d(
            v.permute(2, 0, 1), layer.position.weight, layer.position.bias, padding=1, groups=dim
        ).permute(1, 2, 0)
        images.append(linear(z + local, layer.proj.weight, layer.proj.bias))
    return torch.stack(images)


PLACES = across(sized((4, 6), (5, 3), (1, 1)), pool=(1, 2))

CASE = Case(
    mechanism=AgentAttention,
    definition=by_definition,
    defined_at=PLACES,
    usual=[at("5x3", site_of(5, 3), pool=2)],
    counted=[
        Counted(
            places=across(sized((4, 6), (5, 3)), pool=(2,), backend=BACKENDS),
            parts={"addmm": "projections", **dict.fromkeys(("mm", "bmm", "convolution"), ("attention", "other"))},
        )
    ],
    # 6 tokens of 4 channels, 4 agents.
    counters_agree_at=[at("5x3", site_of(5, 3), pool=2)],
    macs=[
        (
            SMALL,
            {"pool": 2},
            Macs(projections=384, attention=4 * 6 * 4 * 4, other=9 * 6 * 4 + 2 * 2 * 4 * (7 * 7 * 3 + 2 * 7 * 3)),
        )
    ],
    refused=[(SMALL, {"pool": 0}, "pool must be at least 1, got 0")],
    refused_by=["macs"],
    adaptations=[(site_of(5, 3), {}, None)],
    memory=[
        Memory(
            says="unfused makes the scores of agents and tokens",
            place=at("16x16", site_of(16, 16, dim=16, heads=4), pool=4, backend="unfused"),
            largest=4 * 16 * 256,
        )
    ],
)
