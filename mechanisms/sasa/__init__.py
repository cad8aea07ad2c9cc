"""Stand-alone self-attention in sliding windows."""

from attnbench.mechanisms.sasa.attention import StandAloneAttention

__all__ = ["StandAloneAttention"]
