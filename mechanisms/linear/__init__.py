"""Multi-scale ReLU linear attention of EfficientViT."""

from attnbench.mechanisms.linear.attention import ReLULinearAttention

__all__ = ["ReLULinearAttention"]
