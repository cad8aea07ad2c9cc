"""Neighbourhood attention."""

from attnbench.mechanisms.nat.attention import NeighborhoodAttention

__all__ = ["NeighborhoodAttention"]
