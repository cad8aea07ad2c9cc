"""Names in several lines, broken between their parts, and within a word only between its humps."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PARTS = re.compile(r"(?<=[:,_+\-/ ])(?=[^ ])")
_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def folded(name: str, width: int, *, mark: str = "") -> list[str]:
    """Return a name in lines of at most a width; a mark stays with the last part of it."""
    parts = _PARTS.split(name)
    parts[-1] += mark
    lines = [""]
    for piece in (piece for part in parts for piece in _pieces(part, width)):
        if lines[-1] and len((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _pieces(part: str, width: int) -> Iterator[str]:
    """Yield a part whole if it fits, else its humps, else what fits of them."""
    for piece in [part] if len(part.rstrip()) <= width else _HUMPS.split(part):
        yield from (piece[start : start + width] for start in range(0, len(piece.rstrip()), width))
