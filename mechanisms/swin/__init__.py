"""Shifted-window attention of Swin."""

from attnbench.mechanisms.swin.attention import ShiftedWindowAttention

__all__ = ["ShiftedWindowAttention"]
