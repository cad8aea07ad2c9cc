"""Spatial-reduction attention of PVT."""

from attnbench.mechanisms.sra.attention import SpatialReductionAttention

__all__ = ["SpatialReductionAttention"]
