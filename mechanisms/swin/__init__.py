"""Shifted-window attention of Swin."""

from mechanisms.swin.attention import ShiftedWindowAttention

__all__ = ["ShiftedWindowAttention"]
