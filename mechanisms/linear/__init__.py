"""Multi-scale ReLU linear attention of EfficientViT."""

from mechanisms.linear.attention import ReLULinearAttention

__all__ = ["ReLULinearAttention"]
