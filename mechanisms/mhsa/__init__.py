"""Multi-head self-attention, the baseline of every comparison."""

from mechanisms.mhsa.attention import MHSA

__all__ = ["MHSA"]
