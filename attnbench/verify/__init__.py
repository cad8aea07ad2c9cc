"""A run's folder against the rules of docs/rules.md: what is kept, worked out again. The parent's side, no torch."""

from attnbench.verify.engine import verify
from attnbench.verify.finding import Discrepancy, KeptVerification, Unchecked

__all__ = ["Discrepancy", "KeptVerification", "Unchecked", "verify"]
