"""Mask-unit attention of Hiera."""

from attnbench.mechanisms.hiera.attention import MaskUnitAttention

__all__ = ["MaskUnitAttention"]
