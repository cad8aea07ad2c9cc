"""Block and grid attention of MaxViT."""

from attnbench.mechanisms.maxvit.attention import BlockGridAttention

__all__ = ["BlockGridAttention"]
