"""Where packages of the system put data sets. Imports no torch: the parent looks whether they are there."""

from __future__ import annotations

from pathlib import Path

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts it."""
