"""New values for an input before every call, and the same values again from the number that they were drawn by.

A layer that keeps an answer is found by what it gives for values that it has not seen, so no two timed calls get the
same. The numbers come from the system and not from torch's generator, which a layer can read. Filling is two passes
over the input with values that are drawn once: new normals each time would take as long as a small layer.
"""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

_CHUNK = 2**20
"""Elements that are mixed from one place of the banks; more would only take more memory for them."""
_SLACK = 4096
_SHIFT = 0.5
"""Standard deviation of what is added to a whole channel. Noise alone averages out: logits of a backbone differed by a
hundredth of the largest from one image of noise to the next, which bfloat16 does not tell apart."""


class InputValues:
    """The values of one input tensor, standard normal but for a shift of each channel.

    Args:
        x: the input, contiguous; filled in place.
        channels: its dimension of channels.
        seed: of the banks, the same for whoever is to make the same values.

    Example:
        >>> x, same = torch.empty(2, 3, 4, 4), torch.empty(2, 3, 4, 4)
        >>> number = draw()
        >>> InputValues(x, channels=1, seed=0).fill(number)
        >>> InputValues(same, channels=1, seed=0).fill(number)
        >>> torch.equal(x, same)
        True
    """

    def __init__(self, x: Tensor, *, channels: int, seed: int) -> None:
        self._x = x.detach()
        self._flat = self._x.view(-1)
        self._shift = [1] * x.dim()
        self._shift[channels] = x.shape[channels]
        generator = torch.Generator().manual_seed(seed)
        size = min(x.numel(), _CHUNK) + _SLACK
        self._banks = [torch.randn(size, generator=generator, dtype=torch.float32).to(x) for _ in range(2)]

    @torch.no_grad()
    def fill(self, number: int) -> None:
        """Fill the input with the values of a number."""
        rng = np.random.default_rng(number)
        one, other = self._banks
        for start in range(0, self._flat.numel(), _CHUNK):
            part = self._flat[start : start + _CHUNK]
            (first, second), angle = rng.integers(0, _SLACK, 2).tolist(), rng.uniform(0, 2 * math.pi)
            torch.mul(one[first : first + part.numel()], math.cos(angle), out=part)
            part.add_(other[second : second + part.numel()], alpha=math.sin(angle))
        shift = torch.from_numpy(rng.normal(0, _SHIFT, self._shift))
        self._x.add_(shift.to(self._x))


def draw() -> int:
    """Return a number that nobody can foresee."""
    return secrets.randbits(63)


@contextmanager
def generators_kept() -> Iterator[None]:
    """Within, numpy's and Python's generators may be seeded; afterwards they go on where they were."""
    of_numpy, of_python = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(of_numpy)
        random.setstate(of_python)


def seed_all(number: int) -> None:
    """Seed every generator that a layer may draw from: torch's on every device, numpy's and Python's."""
    torch.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)
