"""The adversaries, a row each: one table for ``test_adversaries.py``."""

from __future__ import annotations

from adversary import Adversary

CASES = (
    Adversary(
        layer="memory.py:KeepsEveryMap",
        kind="an answer used again",
        status="failed",
        said=r"keeps [\d,]+ bytes of tensors more after every call",
    ),
)
