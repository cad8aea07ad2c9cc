"""The selective scan in four directions."""

from __future__ import annotations

import torch
from case import Case, Counted, Memory
from layer_checks import SITES, site_of
from places import SMALL, across, at
from torch.nn.functional import conv2d, layer_norm, linear, silu, softplus

from attnbench.mechanism import Macs
from attnbench.mechanisms.ss2d import SelectiveScan2D


def orders(height, width):
    """The places of a map along rows, along columns, and both backwards."""
    rows = list(range(height * width))
    columns = [row * width + column for column in range(width) for row in range(height)]
    return rows, columns, rows[::-1], columns[::-1]


def by_definition(layer, x, *, states=16, gate=True, **_):
    """The formula of the class's docstring, image by image, direction by direction, token by token."""
    height, width, dim = x.shape[1:]
    rank, inner = -(-dim // 16), len(layer.out_norm.weight)
    images = []
    for image in x:
        y = layer_norm(image, (dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        u, *g = linear(y, layer.project_in.weight).split(inner, -1)
        u = silu(conv2d(u.permute(2, 0, 1), layer.conv.weight, layer.conv.bias, padding=1, groups=inner))
        u = u.flatten(1).T
        total = [0] * len(u)
        for i, order in enumerate(orders(height, width)):
            h = u.new_zeros(inner, states)
            for place in order:
                step, b, c = (u[place] @ layer.coefficients[i]).split([rank, states, states])
                delta = softplus(step @ layer.steps[i] + layer.step_bias[i])
                h = torch.exp(delta[:, None] * -torch.exp(layer.log_decay[i])) * h + torch.outer(delta * u[place], b)
                total[place] = total[place] + h @ c + layer.skip[i] * u[place]
        z = layer_norm(torch.stack(total), (inner,), layer.out_norm.weight, layer.out_norm.bias, 1e-5)
        z = z.view(height, width, inner) * silu(g[0]) if gate else z.view(height, width, inner)
        images.append(linear(z, layer.proj.weight))
    return torch.stack(images)


PLACES = (
    at("odd", SITES["odd"], states=3),
    at("one row", SITES["one row"], states=1, expand=1, gate=False),
    at("one token", SITES["one token"]),
)

CASE = Case(
    mechanism=SelectiveScan2D,
    definition=by_definition,
    defined_at=PLACES,
    gradients_within=1e-7,
    usual=[at("odd", SITES["odd"], states=3)],
    std=0.2,
    compiled_at=[at("odd", SITES["odd"], states=3)],
    counted=[
        Counted(
            places=across({"odd": SITES["odd"]}, states=(1, 4), gate=(True, False)),
            parts={"mm": "projections", "bmm": "projections", "scan": "attention", "convolution": "other"},
        )
    ],
    # 6 tokens of 4 channels, 8 inner ones, steps of rank 1, 2 states.
    macs=[
        (SMALL, {"states": 2}, Macs(projections=6 * 8 * (12 + 4 * 6), attention=8 * 6 * 8 * 2, other=9 * 6 * 8)),
        (
            SMALL,
            {"states": 1, "expand": 1, "gate": False},
            Macs(projections=6 * 4 * (8 + 4 * 4), attention=8 * 6 * 4, other=9 * 6 * 4),
        ),
    ],
    refused=[
        (SMALL, {"states": 0}, "states must be at least 1, got 0"),
        (SMALL, {"expand": 0}, "expand must be at least 1, got 0"),
    ],
    refused_by=["macs"],
    adaptations=[(SITES["odd"], {}, None)],
    memory=[
        Memory(
            says="chunked keeps no states for training",
            place=at("14x14", site_of(14, 14)),
            saved_below=4 * 14 * 14 * (4 * 16 * 16),
        )
    ],
)
