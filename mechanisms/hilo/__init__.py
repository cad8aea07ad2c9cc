"""HiLo attention of LITv2."""

from attnbench.mechanisms.hilo.attention import HiLoAttention

__all__ = ["HiLoAttention"]
