"""Focal modulation of FocalNet."""

from attnbench.mechanisms.focal.attention import FocalModulation

__all__ = ["FocalModulation"]
