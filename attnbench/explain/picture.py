"""The parts of profiles as a picture: what ``--plot`` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attnbench import files
from attnbench.errors import StoreError, UsageError
from attnbench.explain.asking import Explained
from attnbench.explain.categories import CATEGORIES, seconds
from attnbench.report import naming


def check_plot(path: Path | None) -> None:
    """Look at the name of a plot before anything is profiled.

    Raises:
        UsageError: it is no PNG's, or its folder is not there.
    """
    if path is None:
        return
    if path.suffix != ".png":
        raise UsageError(f"--plot {path}: give a name that ends in .png")
    if not path.parent.is_dir():
        raise UsageError(f"--plot {path}: there is no folder {path.parent}")


def draw(found: Sequence[Explained], path: Path) -> None:
    """Draw the parts of each cell.

    Raises:
        StoreError: the file cannot be written.
    """
    from attnbench.report.plots.parts import parts  # noqa: PLC0415 - matplotlib

    cells = [each.record.cell for each in found]
    names = naming.names(cells)
    bars = {names[each.record.cell.key]: seconds(each.profile) for each in found if each.profile}
    content = parts(bars, CATEGORIES, naming.shared(cells))
    try:
        files.put(path, content)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {files.reason_of(error)}; give another file") from None
