"""Locally-grouped and global sub-sampled attention of Twins-SVT."""

from attnbench.mechanisms.twins.attention import TwinsAttention

__all__ = ["TwinsAttention"]
