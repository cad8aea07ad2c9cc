"""Focal modulation, and timm's."""

from __future__ import annotations

from itertools import product

import torch
from case import Case, Counted, Other
from layer_checks import SITES, site_of
from places import SMALL, across, at
from timm.models.focalnet import FocalModulation as Timms
from torch.nn.functional import gelu, layer_norm, linear

from attnbench.mechanism import Macs
from attnbench.mechanisms.focal import FocalModulation


def convolved_by_definition(image, weight):
    """A depthwise convolution (C, 1, k, k) of a map (H, W, C), token by token, offset by offset."""
    height, width, _ = image.shape
    border = weight.shape[-1] // 2
    rows = []
    for row, column in product(range(height), range(width)):
        total = 0
        for i, j in product(range(-border, border + 1), repeat=2):
            if 0 <= row + i < height and 0 <= column + j < width:
                total = total + weight[:, 0, i + border, j + border] * image[row + i, column + j]
        rows.append(total)
    return torch.stack(rows).view(image.shape)


def by_definition(layer, x, **_):
    """The formula of the class's docstring, image by image."""
    dim, images = layer.site.dim, []
    for image in x:
        y = layer_norm(image, (dim,), layer.norm.weight, layer.norm.bias, 1e-5)
        q, z, gates = linear(y, layer.project_in.weight, layer.project_in.bias).split([dim, dim, layer.levels + 1], -1)
        total = 0
        for level, convolution in enumerate(layer.contexts):
            z = gelu(convolved_by_definition(z, convolution.weight))
            total = total + gates[..., level, None] * z
        total = total + gates[..., -1, None] * gelu(z.flatten(0, 1).mean(0))
        images.append(linear(q * linear(total, layer.modulator.weight, layer.modulator.bias), layer.proj.weight))
    return torch.stack(images) + layer.proj.bias


def timms(layer, x, *, levels=2, window=3, **_):
    """What timm's layer, channels first and without a norm before it, makes of the normed map."""
    theirs = Timms(layer.site.dim, focal_window=window, focal_level=levels).double()
    for name, ours in {"f": layer.project_in, "h": layer.modulator, "proj": layer.proj}.items():
        theirs.get_submodule(name).load_state_dict({"weight": ours.weight[..., None, None], "bias": ours.bias})
    for level, ours in enumerate(layer.contexts):
        theirs.focal_layers[level][0].load_state_dict(ours.state_dict())
    return theirs(layer.norm(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


PLACES = (*across(SITES, levels=(1, 2)), at("large field", site_of(5, 4), levels=3, window=5))

CASE = Case(
    mechanism=FocalModulation,
    definition=by_definition,
    defined_at=PLACES,
    usual=[at("odd", SITES["odd"])],
    counted=[
        Counted(
            places=[at("one level", SITES["odd"], levels=1)],
            parts={"addmm": "projections", "mm": "projections", "convolution": "other"},
        )
    ],
    counters_agree_at=PLACES,
    # 6 tokens of 4 channels; convolutions of 3 x 3 and 5 x 5; three gated contexts.
    macs=[(SMALL, {}, Macs(projections=6 * 4 * 19, attention=6 * 4 * 3, other=6 * 4 * 34))],
    refused=[
        (SMALL, {"levels": 0}, "levels must be at least 1, got 0"),
        (SMALL, {"window": 2}, "window must be odd and at least 1, got 2"),
    ],
    refused_by=["macs"],
    adaptations=[(SITES["odd"], {}, None)],
    others=[Other(name="timm's", places=PLACES, expected=timms)],
)
