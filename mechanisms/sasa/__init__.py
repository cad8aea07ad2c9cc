"""Stand-alone self-attention in sliding windows."""

from mechanisms.sasa.attention import StandAloneAttention

__all__ = ["StandAloneAttention"]
