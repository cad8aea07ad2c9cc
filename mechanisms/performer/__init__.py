"""Performer: softmax attention estimated by positive orthogonal random features."""

from mechanisms.performer.attention import PerformerAttention

__all__ = ["PerformerAttention"]
