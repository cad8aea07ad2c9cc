"""Bi-level routing."""

from attnbench.mechanisms.biformer.attention import BiLevelRoutingAttention

__all__ = ["BiLevelRoutingAttention"]
