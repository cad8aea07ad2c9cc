"""A layer over a batch, some images at a time where the whole would not fit into memory that is used again.

glibc takes a block of more than 32 MiB from the system and gives it back when it is freed, whatever was freed before
(``mallopt(3)``, ``M_MMAP_THRESHOLD``). Each call then finds fresh pages, and pays for each of them: filling 40 MB took
17 ms where filling memory that was used before took 1.5 (one core of an AMD EPYC, pages of 4 KiB).
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from attnbench.mechanism import Map

KEPT_BYTES = 2**24
"""The widest map of the images that go together, half of what glibc may keep: there are padded maps, and float64."""


def some_at_a_time(forward: Callable[[Map], Map], x: Map, *, widest: int) -> Map:
    """Return what a layer makes of a batch in which the images do not see each other.

    Args:
        forward: the layer; its output has as many images as its input.
        x: the map, (B, H, W, C).
        widest: channels of the widest map that the layer makes.
    """
    batch, height, width, _ = x.shape
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return forward(x)
    images = max(1, KEPT_BYTES // (height * width * widest * x.element_size()))
    if batch <= images:
        return forward(x)
    return torch.cat([forward(part) for part in torch.split(x, images)])
