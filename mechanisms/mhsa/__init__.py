"""Multi-head self-attention, the baseline of every comparison."""

from attnbench.mechanisms.mhsa.attention import MHSA

__all__ = ["MHSA"]
