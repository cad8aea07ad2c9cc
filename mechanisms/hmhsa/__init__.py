"""Hierarchical multi-head self-attention."""

from mechanisms.hmhsa.attention import HMHSA

__all__ = ["HMHSA"]
