"""Differential attention of the Differential Transformer."""

from attnbench.mechanisms.diff.attention import DifferentialAttention

__all__ = ["DifferentialAttention"]
