"""A layer that fools a benchmark, most often by accident, and what is expected of its row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LAYERS = Path(__file__).parent / "adversaries"
HONEST = f"{LAYERS / 'honest.py'}:Attention"
"""Plain attention: what each adversary would be if it did its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adversary:
    """One way to be measured wrongly."""

    layer: str
    """``FILE.py:Class`` below ``tests/helpers/adversaries``."""
    kind: str
    """The kind of trick, as in docs/rules.md."""
    status: str
    """What its row ends with; ``suspicious`` for an ok row that says what speaks against it, ``macs not ranked`` for
    one of which only the multiply-adds are in doubt."""
    said: str
    """A regular expression that the row's reason, suspicion or ``process_changes`` has to match."""
    asked: Mapping[str, object] = field(default_factory=dict)
    """Axes and settings that differ from those of the others."""

    @property
    def path(self) -> str:
        """What ``--mechanisms`` takes."""
        return str(LAYERS / self.layer)
