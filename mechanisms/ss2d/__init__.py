"""Selective scan."""

from attnbench.mechanisms.ss2d.attention import SelectiveScan2D

__all__ = ["SelectiveScan2D"]
