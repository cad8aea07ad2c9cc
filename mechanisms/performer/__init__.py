"""Performer: softmax attention estimated by positive orthogonal random features."""

from attnbench.mechanisms.performer.attention import PerformerAttention

__all__ = ["PerformerAttention"]
