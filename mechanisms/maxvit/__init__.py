"""Block and grid attention of MaxViT."""

from mechanisms.maxvit.attention import BlockGridAttention

__all__ = ["BlockGridAttention"]
