"""Cross-shaped window attention of CSWin."""

from attnbench.mechanisms.cswin.attention import CrossShapedAttention

__all__ = ["CrossShapedAttention"]
