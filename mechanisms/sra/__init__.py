"""Spatial-reduction attention of PVT."""

from mechanisms.sra.attention import SpatialReductionAttention

__all__ = ["SpatialReductionAttention"]
