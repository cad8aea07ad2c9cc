"""Cascaded group attention of EfficientViT (Microsoft's)."""

from attnbench.mechanisms.cga.attention import CascadedGroupAttention

__all__ = ["CascadedGroupAttention"]
