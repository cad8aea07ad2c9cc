"""Locally-grouped and global sub-sampled attention of Twins-SVT."""

from mechanisms.twins.attention import TwinsAttention

__all__ = ["TwinsAttention"]
