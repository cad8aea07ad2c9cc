"""What can be said of a machine and its software where torch, or what it needs, does not import. Never torch."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

from attnbench import __version__
from attnbench.devices import machine

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "fvcore", "triton")
_WHERE = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX")
"""Variables that say which libraries are found."""


def take() -> Mapping[str, object]:
    """Return facts for a bug report, in the form of an environment."""
    versions = {name: _version(name) for name in _PACKAGES}
    return {
        "cpu": asdict(machine.cpu()),
        "memory_gib": round(machine.memory_bytes() / 2**30),
        "software": {"system": platform.platform(), "python": platform.python_version(), **versions},
        "variables": {name: os.environ[name] for name in _WHERE if name in os.environ},
        "code": {"attnbench": __version__, "interpreter": sys.executable},
    }


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
