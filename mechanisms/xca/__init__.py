"""Cross-covariance attention of XCiT."""

from attnbench.mechanisms.xca.attention import CrossCovarianceAttention

__all__ = ["CrossCovarianceAttention"]
