"""Plots that an earlier report left behind: a reader takes them for plots of the rows beside them.

What a report drew is listed in a file beside the plots. Only what is listed there and not drawn again is removed, so
that nobody else's files are touched.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from attnbench import files
from attnbench.reading import MisreadError

MADE = ".made.json"
"""Name of the list, in the folder of the plots."""


def remove(plots: Path, *, drawn: Collection[Path]) -> None:
    """Remove what an earlier report drew into a folder and this one did not, and list what this one drew.

    Args:
        plots: the folder; it need not be there.
        drawn: files in it.

    Raises:
        OSError: a file cannot be removed or written.
    """
    names = sorted(path.name for path in drawn)
    for name in _listed(plots / MADE) - set(names):
        (plots / name).unlink(missing_ok=True)
    if plots.is_dir():
        files.put(plots / MADE, json.dumps(names, indent=1) + "\n")


def _listed(made: Path) -> set[str]:
    """Return the plots that a list names; none if it is not there or is no list. A name with a folder in it is none."""
    try:
        names = files.json_of(made, tuple[Any, ...])
    except MisreadError:
        return set()
    pictures = (name for name in names if isinstance(name, str) and Path(name).suffix in {".png", ".svg"})
    return {name for name in pictures if Path(name).name == name}
