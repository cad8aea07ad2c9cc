"""What a calibration ran on and with, in words."""

from __future__ import annotations

from importlib.metadata import version

import torch

from attnbench.devices import machine
from attnbench.wording import number_of


def lines() -> tuple[str, ...]:
    """Return the processor, the threads, and the packages that the figures depend on, a line each."""
    found = machine.cpu()
    return (
        f"processor: {found.model}, {number_of(torch.get_num_threads(), 'thread')}",
        f"torch {torch.__version__}, timm {version('timm')}, attnbench {version('attnbench')}",
    )
