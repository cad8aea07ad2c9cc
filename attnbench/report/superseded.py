"""Plots that an earlier report left behind: a reader takes them for plots of the rows beside them."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

_PICTURE = re.compile(r"^!\[[^\]]*\]\((plots/[^/)]+)\.png\)$", re.MULTILINE)


def shown_by(report: Path) -> list[Path]:
    """Return the plots, as PNG and SVG, that a report shows from the folder beside it; none if there is no report."""
    if not report.is_file():
        return []
    links = _PICTURE.findall(report.read_text(encoding="utf-8", errors="replace"))
    return [report.parent / f"{link.replace('%20', ' ')}{suffix}" for link in links for suffix in (".png", ".svg")]


def remove(before: Collection[Path], *, drawn: Collection[Path]) -> None:
    """Remove the plots that were shown before and have not been drawn again; nobody else's files are touched."""
    for path in set(before) - set(drawn):
        path.unlink(missing_ok=True)
