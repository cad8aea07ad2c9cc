"""Linformer: attention to a fixed number of learned mixtures of the tokens."""

from attnbench.mechanisms.linformer.attention import LinformerAttention

__all__ = ["LinformerAttention"]
