"""Whether all is there that was asked for, and nothing that was not: rows, samples, words of ``asked.json``."""

from __future__ import annotations

from attnbench import store
from attnbench.errors import StoreError
from attnbench.fleet import lacking
from attnbench.plan.described import describe
from attnbench.reading import MisreadError
from attnbench.record import Cell, Status
from attnbench.runs.rows import SAMPLES, samples_of
from attnbench.store import asked, parts
from attnbench.verify.finding import Place, Tally
from attnbench.verify.kept import KeptRun

_ASKED = Place(file=asked.ASKED)


def check(kept: KeptRun, tally: Tally) -> None:
    """Set rows, samples and what was asked for against each other."""
    _asked(kept, tally)
    _samples(kept, tally)


def _asked(kept: KeptRun, tally: Tally) -> None:
    home = parts.home(kept.folder)
    try:
        wanted = asked.held(home or kept.folder)
        planned = lacking.units(home) if home else lacking.NOTHING
    except (MisreadError, StoreError) as error:
        tally.wrong(_ASKED, "cells", kept=None, found=f"what was asked for: {error}")
        return
    if not wanted.by_command:
        tally.skip(asked.ASKED, "it is not there: what was asked for, and so what is missing, is not known")
        return
    rows, beside = kept.latest, _beside(kept)
    if home is None or parts.of(home)[0].samefile(kept.folder):  # what all of them lack is said once
        there = {(key, ""): key in rows or key in beside for key in wanted.cells if key not in planned.cells}
        there |= dict.fromkeys(planned.there, True) | dict.fromkeys(planned.lacking, False)
        for (key, kind), has in there.items():
            words = planned.lacking.get((key, kind)) or wanted.cells.get(key, "")
            place, figure = Place(file=store.RECORDS, row=words), f"row of cell {key}{f' on {kind}' if kind else ''}"
            tally.demand(has, place, figure, kept=None, found="a row: it was asked for")
    for key, words in wanted.cells.items():
        if key in rows:
            _words(words, rows[key].record.cell, Place(file=asked.ASKED, row=key), tally)
    for key, line in rows.items():
        tally.demand(key in wanted.cells, line.place, "cell_key", kept=key, found="a cell that was asked for")


def _words(words: str, cell: Cell, place: Place, tally: Tally) -> None:
    """See that nothing is said of a cell that it is not; not all of it has always been said."""
    options = [f"{name}={value}" for name, value in cell.options.items()]
    expected = ", ".join([describe(cell), *options])
    known = expected.replace(",", " ").split()
    holds = set(words.replace(",", " ").split()) <= set(known)
    tally.demand(holds, place, "words", kept=words, found=expected)


def _beside(kept: KeptRun) -> dict[str, str]:
    """Return the cells that other parts of the same folder have rows of, with the names of those parts."""
    home = parts.home(kept.folder)
    others = [part for part in parts.of(home) if not part.samefile(kept.folder)] if home else []
    return {record.cell.key: part.name for part in others for record in store.read(part / store.RECORDS)}


def _samples(kept: KeptRun, tally: Tally) -> None:
    """Find files of timed calls that no row has, those of rows that were set aside or measured again left out.

    A row that was rejected has no figures of its calls, and their times all the same: what it was rejected for.

    A worker that was killed leaves such files; where another has measured the cell since, that is said and no finding.
    """
    folder = kept.folder / SAMPLES
    if not folder.is_dir():
        return
    known = {
        samples_of(kept.folder, line.record.cell).name
        for line in kept.lines
        if line.timed or line.record.status is Status.REJECTED
    }
    for aside in sorted(kept.folder.glob("records.*.jsonl")):
        known |= {samples_of(kept.folder, record.cell).name for record in store.read(aside)}
    beside = _beside(kept)
    for path in sorted(folder.iterdir()):
        if path.name not in known and path.stem in beside:
            tally.skip(
                f"{SAMPLES}/{path.name}", f"this worker did not end the cell; its row is with {beside[path.stem]}"
            )
            continue
        place = Place(file=f"{SAMPLES}/{path.name}")
        tally.demand(path.name in known, place, "file", kept=path.name, found="nothing: no row has these timed calls")
