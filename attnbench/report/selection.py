"""How much of a large run is shown: what a reader can look at, with what is left out said by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

MOST_PLOTS = 12
"""Sets of conditions of which every one is drawn; of more, only EXAMPLES."""
EXAMPLES = 2
MOST_SERIES = 24
"""Mechanisms in one plot."""
MOST_OF_ALL_PAIRS = 30
"""Mechanisms of which every pair is compared over resolution; of more, only those with the baseline are."""

Part = TypeVar("Part")


def drawn_of(parts: Sequence[Part]) -> Sequence[Part]:
    """Return the parts of which there are plots."""
    return parts if len(parts) <= MOST_PLOTS else parts[:EXAMPLES]
