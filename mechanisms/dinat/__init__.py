"""Dilated neighbourhood attention."""

from attnbench.mechanisms.dinat.attention import DilatedNeighborhoodAttention

__all__ = ["DilatedNeighborhoodAttention"]
