"""The four maps of a timm network, and the pyramid of equally wide maps that every head is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, TypeAlias

from jaxtyping import Float
from timm.layers import Format
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from attnbench.models import networks
from attnbench.models.network import Level

STRIDES = (4, 8, 16, 32)
"""Image pixels per position along a side, in the maps that a network gives."""
WIDTH = 256
"""Channels of every map of the pyramid."""

Images: TypeAlias = Float[Tensor, "batch 3 image_height image_width"]
Feature: TypeAlias = Float[Tensor, "batch channels height width"]


class Body(nn.Module, ABC):
    """What gives a head its maps, at strides 4, 8, 16 and 32."""

    channels: Sequence[int]
    """Of each map, the finest first."""

    @abstractmethod
    def forward(self, images: Images) -> list[Level]:
        """Return the four maps, the finest first, channels before height and width."""


class Features(Body):
    """A timm network without its classifier, by its maps at strides 4, 8, 16 and 32."""

    def __init__(self, network: str, *, height: int, width: int, **options: Any) -> None:  # noqa: ANN401
        """Build the network with random weights.

        Args:
            network: name under which timm knows it.
            height: pixels down of the images, for networks that are built for one size.
            width: pixels across.
            options: the network's own, as for ``timm.create_model``. One that takes ``dense``, as HAT-Net does, has
                another form for dense tasks, and is given True unless told otherwise.

        Raises:
            ValueError: the network gives no map at one of the strides.
            RuntimeError: timm does not know the name, or gives no maps of the network.
        """
        super().__init__()
        offered = {"img_size": (height, width), "dense": True}
        self.network, taken = networks.build(network, offered=offered, given={"features_only": True, **options})
        self.dense = "dense" in taken
        self.bound = "img_size" in taken
        """Whether it takes images of the size alone that it was built for."""
        # Networks with extraction of their own, MobileNets and EfficientNets, do not say: theirs come channels first.
        self.channels_last = getattr(self.network, "output_fmt", Format.NCHW) == Format.NHWC
        info = self.network.feature_info
        reductions = info.reduction()
        if not set(STRIDES) <= set(reductions):
            raise ValueError(
                f"{network} gives maps at strides {_listed(reductions)}; heads need them at {_listed(STRIDES)}"
            )
        deepest = {stride: index for index, stride in enumerate(reductions)}
        self.taken = [deepest[stride] for stride in STRIDES]
        self.channels = [info.channels()[index] for index in self.taken]

    def forward(self, images: Images) -> list[Level]:
        """Return the four maps, the finest first."""
        maps = self.network(images)
        chosen = [maps[index] for index in self.taken]
        return [each.permute(0, 3, 1, 2) for each in chosen] if self.channels_last else chosen


class FeaturePyramid(nn.Module):
    """A network and, on its maps, torchvision's Feature Pyramid Network (Lin et al., arXiv:1612.03144)."""

    def __init__(self, body: Body, *, skipped: int = 0, coarser: ExtraFPNBlock | None = None) -> None:
        """Put a pyramid on a network.

        Args:
            body: the network.
            skipped: how many of the finest maps are left out.
            coarser: makes maps beyond stride 32.
        """
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramidNetwork(body.channels[skipped:], WIDTH, extra_blocks=coarser)
        self.skipped = skipped
        self.out_channels = WIDTH

    def forward(self, images: Images) -> OrderedDict[str, Level]:
        """Return the maps by name, ``0`` the finest, as torchvision's detectors take them."""
        maps = self.body(images)[self.skipped :]
        pyramid: OrderedDict[str, Level] = self.fpn(OrderedDict((str(level), x) for level, x in enumerate(maps)))
        return pyramid


def _listed(strides: Sequence[int]) -> str:
    return ", ".join(str(stride) for stride in strides)
