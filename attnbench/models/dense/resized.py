"""A network that gives a head its maps of images of any size, built anew where it is bound to one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from attnbench.models import networks
from attnbench.models.dense.features import Body, Features, Images
from attnbench.models.network import Level
from attnbench.record import Value

Load = Callable[[Features], None]


class SizeRefusedError(Exception):
    """A network failed on images of a size; whether for the size, only looking at that size tells.

    Attributes:
        size: height and width in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(f"images of {size[0]}x{size[1]} pixels")
        self.size = size


class NetworkOfAnySize(Body):
    """A network with weights of its own. One that is bound to a size is kept for the last that it was shown."""

    def __init__(self, name: str, options: Mapping[str, Value], load: Load, *, height: int, width: int) -> None:
        """Build the network for a first size.

        Args:
            name: under which timm knows it.
            options: its own, and ``backend``.
            load: puts weights into it, however often it is built.
            height: of images, in pixels.
            width: of images, in pixels.

        Raises:
            Exception: whatever the network's constructor raises.
            DataError: the weights do not fit it.
        """
        super().__init__()
        self._asked, self._load = (name, dict(options)), load
        self._size = (height, width)
        self.features = self._built(torch.device("cpu"))
        self.channels = self.features.channels

    def forward(self, images: Images) -> list[Level]:
        """Return the four maps, the finest first.

        Raises:
            SizeRefusedError: the network raised something.
            FloatingPointError: a map is infinite or not numbers.
        """
        size = (images.shape[-2], images.shape[-1])
        try:
            if self.features.bound and size != self._size:
                self._size = size
                self.features = self._built(images.device).eval()
            maps: list[Level] = self.features(images)
        except Exception as error:  # a stranger's network may raise anything
            raise SizeRefusedError(size) from error
        if not all(each.isfinite().all() for each in maps):
            raise FloatingPointError("the network's maps are infinite or not numbers")
        return maps

    def _built(self, device: torch.device) -> Features:
        name, options = self._asked
        given: dict[str, Any] = dict(options)
        networks.fuse(given.pop("backend", networks.BACKENDS[0]) != "unfused")
        features = Features(name, height=self._size[0], width=self._size[1], **given)
        self._load(features)
        return features.to(device)
