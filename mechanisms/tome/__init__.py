"""Token merging."""

from attnbench.mechanisms.tome.attention import TokenMergingAttention

__all__ = ["TokenMergingAttention"]
