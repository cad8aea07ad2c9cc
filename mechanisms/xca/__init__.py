"""Cross-covariance attention of XCiT."""

from mechanisms.xca.attention import CrossCovarianceAttention

__all__ = ["CrossCovarianceAttention"]
