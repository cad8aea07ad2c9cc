"""What stands under a head: the backbone of a mechanism, or a published network, each from random weights of a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from attnbench.accuracy import proxy
from attnbench.accuracy.composites.trained import TrainedHead
from attnbench.mechanism import Site
from attnbench.models import networks
from attnbench.models.backbone import Backbone, BackboneStage, Build, sites
from attnbench.models.dense.features import Body, Features, Images
from attnbench.models.network import Level
from attnbench.models.pyramid import Pyramid
from attnbench.record import Value

PYRAMID: Pyramid = proxy.FOR_PHOTOS
"""The backbone that a mechanism is trained in."""
Head = Callable[[Body], TrainedHead]
BuildBody = Callable[[int], Body]
"""Of a seed."""


class BackboneMaps(Body):
    """The maps after each stage of a backbone, which is left without its classifier."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.stages = backbone.stages
        self.channels = PYRAMID.dims

    def forward(self, images: Images) -> list[Level]:
        """Return the four maps, the finest first."""
        x, carry, maps = images, None, []
        for stage in self.stages:
            assert isinstance(stage, BackboneStage)
            x, carry = stage(x, carry)
            maps.append(x)
        return maps


def of_mechanism(build: Build, *, height: int, width: int) -> BuildBody:
    """Return what builds a mechanism's backbone; for one seed, all but the mechanism starts from the same weights."""

    def body(seed: int) -> Body:
        return BackboneMaps(proxy.seeded(build, height=height, width=width, classes=1, pyramid=PYRAMID, seed=seed))

    return body


def sites_of(height: int, width: int) -> list[Site]:
    """Return what a mechanism must take to be trained at a size."""
    return [site for stage in sites(PYRAMID, height, width) for site in stage]


def of_network(name: str, options: Mapping[str, Value], *, height: int, width: int) -> BuildBody:
    """Return what builds a network's maps; nothing is downloaded."""
    given: dict[str, Any] = dict(options)
    fused = given.pop("backend", networks.BACKENDS[0]) != "unfused"

    def body(seed: int) -> Body:
        networks.fuse(fused)
        torch.manual_seed(seed)
        return Features(name, height=height, width=width, **given)

    return body


def under(head: Head, body: BuildBody, *, seed: int) -> TrainedHead:
    """Return a network under a head, whose weights are the same whatever the network, as far as their shapes are."""
    found = body(seed)
    torch.manual_seed(seed)
    return head(found)
