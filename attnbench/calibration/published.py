"""THE table of networks whose accuracy is published, and how each is made smaller. Imports no torch.

Top-1 on the 50,000 validation images of ImageNet, at 224 x 224, and parameters are those of timm's
``results/results-imagenet.csv`` (https://github.com/huggingface/pytorch-image-models, commit 0173a139) for the weights
that are named. All of these were trained on ImageNet-1k alone, without a teacher, each family by one recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

PATCH = 8
"""Pixels along a side of a patch of plain transformers, in place of 16: a smaller network for smaller images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedNetwork:
    """A network of timm's, what is published of it, and the arguments that make it narrow."""

    name: str
    """As ``timm.create_model`` takes it."""
    family: str
    weights: str
    """The tag of the weights that ``top1`` is of."""
    top1: float
    """In %."""
    parameters_million: float
    narrow: Mapping[str, object] = field(default_factory=dict)
    """Keyword arguments of ``timm.create_model``: an eighth of the published width, the published depth and heads."""
    plain: bool = False
    """Whether it is built for one size of image, in patches of one size."""


_PVT_SMALL, _PVT = {"embed_dims": (4, 8, 20, 32)}, {"embed_dims": (8, 16, 40, 64)}
_RESNET = {"channels": (8, 16, 32, 64), "stem_width": 8}

_ROWS = (
    PublishedNetwork(
        name="resnet18", family="ResNet", weights="a3_in1k", top1=68.254, parameters_million=11.69, narrow=_RESNET
    ),
    PublishedNetwork(
        name="resnet34", family="ResNet", weights="a3_in1k", top1=72.970, parameters_million=21.80, narrow=_RESNET
    ),
    PublishedNetwork(
        name="resnet50", family="ResNet", weights="a3_in1k", top1=78.048, parameters_million=25.56, narrow=_RESNET
    ),
    PublishedNetwork(
        name="deit_tiny_patch16_224", family="DeiT", weights="fb_in1k", top1=72.172, parameters_million=5.72,
        narrow={"embed_dim": 24}, plain=True,
    ),
    PublishedNetwork(
        name="deit_small_patch16_224", family="DeiT", weights="fb_in1k", top1=79.844, parameters_million=22.05,
        narrow={"embed_dim": 48}, plain=True,
    ),
    PublishedNetwork(
        name="pvt_v2_b0", family="PVT v2", weights="in1k", top1=70.660, parameters_million=3.67, narrow=_PVT_SMALL
    ),
    PublishedNetwork(
        name="pvt_v2_b1", family="PVT v2", weights="in1k", top1=78.702, parameters_million=14.01, narrow=_PVT
    ),
    PublishedNetwork(
        name="pvt_v2_b2", family="PVT v2", weights="in1k", top1=82.086, parameters_million=25.36, narrow=_PVT
    ),
    PublishedNetwork(
        name="xcit_nano_12_p16_224", family="XCiT", weights="fb_in1k", top1=69.962, parameters_million=3.05,
        narrow={"embed_dim": 16},
    ),
    PublishedNetwork(
        name="xcit_tiny_12_p16_224", family="XCiT", weights="fb_in1k", top1=77.140, parameters_million=6.72,
        narrow={"embed_dim": 24},
    ),
    PublishedNetwork(
        name="xcit_tiny_24_p16_224", family="XCiT", weights="fb_in1k", top1=79.448, parameters_million=12.12,
        narrow={"embed_dim": 24},
    ),
)  # fmt: skip

NETWORKS: Mapping[str, PublishedNetwork] = MappingProxyType({row.name: row for row in _ROWS})
"""Every network by its name."""
