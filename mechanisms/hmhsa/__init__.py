"""Hierarchical multi-head self-attention."""

from attnbench.mechanisms.hmhsa.attention import HMHSA

__all__ = ["HMHSA"]
