"""Fields as a picture, on disk with the table. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from attnbench import files
from attnbench.errors import StoreError

if TYPE_CHECKING:
    from attnbench.reach.asking import NetworkReach
    from attnbench.report.plots.fields import Panel

PICTURE, TABLE = "reach", "reach.csv"


def panels(found: Sequence[NetworkReach], names: Sequence[str], *, window: int) -> dict[str, list[Panel]]:
    """Return the mean over seeds of each stage's field by name, without those that failed.

    Args:
        found: fields.
        names: what each is called.
        window: tokens along a side of the frame that is drawn.
    """
    return {name: list(_of(one, window)) for name, one in zip(names, found, strict=True) if one.seeds}


def write(panels: Mapping[str, Sequence[Panel]], table: str, *, subtitle: str, folder: Path) -> list[Path]:
    """Write picture and table, and return the files; no picture where there is nothing to show.

    Raises:
        StoreError: a file cannot be written.
    """
    from attnbench.report.plots.fields import fields  # noqa: PLC0415 - matplotlib
    from attnbench.report.plots.saving import own_settings, save  # noqa: PLC0415

    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.put(folder / TABLE, table)
        written = [folder / TABLE]
        if panels:
            with own_settings():
                figure = fields(panels, subtitle)
            written += save(figure, folder, PICTURE)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {files.reason_of(error)}; give another folder with --out") from None
    return written


def _of(one: NetworkReach, window: int) -> Iterator[Panel]:
    for place, first in enumerate(one.seeds[0]):
        mean = np.mean([seed[place].influence.shares for seed in one.seeds], axis=0)
        middle = first.influence
        yield mean, (middle.row, middle.column), float(window * middle.stride)
