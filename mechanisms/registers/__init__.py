"""Attention with registers."""

from attnbench.mechanisms.registers.attention import RegisterAttention

__all__ = ["RegisterAttention"]
