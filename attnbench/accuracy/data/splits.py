"""A data set for training proxies: its fixed split, and batches that a seed decides wherever they are made."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnbench.errors import DataError

Images: TypeAlias = Float[Tensor, "batch channels height width"]
Labels: TypeAlias = Int[Tensor, " batch"]

_WORTH_A_PROCESS = 10_000
"""Images that must be read before starting further processes for it pays."""


class Split(ABC):
    """Labelled images, read a batch at a time."""

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def processes(self) -> int:
        """Processes that reading is worth, beside the one that trains; batches do not depend on it."""

    @abstractmethod
    def batch(self, indices: Sequence[int], *, draw: int) -> tuple[Images, Labels]:
        """Return the images at some indices with their labels; the seed ``draw`` decides every random change.

        Those that cannot be read are left out; where none can be, there are no images of no size.
        """

    @property
    def remark(self) -> str:
        """What a reader must know of the images that were read by now; empty for nothing."""
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A data set with its fixed split, at one image size."""

    name: str
    train: Split
    held_out: Split
    """Never trained on."""
    classes: int
    channels: int
    height: int
    """Pixels, as ``width``."""
    width: int
    batch: int
    """Images per training step."""
    epochs: int
    """Passes over the training images that comparing mechanisms takes."""
    kind: str = "proxy"
    """What accuracies on it are called, which are never ranked with those of another kind."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """The numbers of the classes by name, where they have names."""

    @property
    def remark(self) -> str:
        """What a reader must know of the images that were read by now; empty for nothing."""
        said = {"training": self.train.remark, "held-out images": self.held_out.remark}
        return "; ".join(f"{where}: {words}" for where, words in said.items() if words)


class Pixels(Split):
    """Images held in memory, and never changed."""

    processes = 0

    def __init__(self, images: Images, labels: Labels) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Sequence[int], *, draw: int) -> tuple[Images, Labels]:  # noqa: ARG002 - nothing is random
        """Return the images at some indices with their labels."""
        chosen = torch.as_tensor(indices)
        return self.images[chosen], self.labels[chosen]


class Files(Split):
    """A data set of timm's or torchvision's, with the random transforms it was given."""

    def __init__(self, source: Any, *, spare_cores: int) -> None:  # noqa: ANN401 - timm is untyped
        self.source, self.spare_cores = source, spare_cores

    def __len__(self) -> int:
        return len(self.source)

    @property
    def processes(self) -> int:
        """Every spare core, unless the data set is small."""
        return self.spare_cores if len(self) >= _WORTH_A_PROCESS else 0

    def batch(self, indices: Sequence[int], *, draw: int) -> tuple[Images, Labels]:
        """Return the images at some indices, transformed as the seed decides."""
        read: list[tuple[Tensor, int]] = []
        with seeded(draw):
            for index in indices:
                with suppress(DataError):  # which the source has noted
                    read.append(self.source[index])
        if not read:
            return torch.empty(0, 3, 1, 1), torch.empty(0, dtype=torch.long)
        images, labels = zip(*read, strict=True)
        return torch.stack(images), torch.tensor(labels)

    @property
    def remark(self) -> str:
        """What the source has noted of images by now."""
        return str(getattr(self.source, "remark", ""))


@contextmanager
def seeded(draw: int) -> Iterator[None]:
    """Seed what transforms draw from, and leave it as it was: models may draw from it too."""
    state, arrays = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(draw)
        random.seed(draw)
        np.random.seed(draw % 2**32)
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(arrays)
