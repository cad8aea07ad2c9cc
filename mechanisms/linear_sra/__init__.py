"""Linear spatial-reduction attention of PVTv2."""

from attnbench.mechanisms.linear_sra.attention import LinearSpatialReductionAttention

__all__ = ["LinearSpatialReductionAttention"]
