"""``attnbench run`` as it is typed, in this process, with workers that need no torch (``fake_worker``)."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_runs import FAKE_WORKER

from attnbench import store
from attnbench.cli import main as command_line
from attnbench.metrics import drawn
from attnbench.plan.sweep import Sweep
from attnbench.record import Cell, Record
from attnbench.report import plots
from attnbench.runs import runner, session


def cells_of(*names: str, sides: Sequence[int]) -> tuple[Cell, ...]:
    return tuple(Cell(mechanism=name, height=side, width=side) for side in sides for name in names)


CELLS = cells_of("a", "b", sides=(32, 64))
"""Two groups of two."""


@dataclass(frozen=True)
class Ended:
    status: int
    said: str


@contextlib.contextmanager
def typing(folder: Path, *options: str, cells: Sequence[Cell] = CELLS) -> Iterator[None]:
    """Have the command line take what is typed for a run of these cells into a folder."""
    kept = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGHUP)]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("always")
        patch.setattr(warnings, "showwarning", None)
        patch.setattr(sys, "argv", ["attnbench", "run", "--isolation", "spawn", "--out", str(folder), *options])
        patch.setattr(session, "plan", lambda *_, **__: Sweep(cells=tuple(cells), baselines={}))
        patch.setattr(session.machine_limits, "measure", lambda *_, **__: {})
        patch.setattr(session.runner, "run", functools.partial(runner.run, worker_module=FAKE_WORKER))
        # One plot is drawn as the others are, and most of the time would go into them.
        patch.setattr(plots, "drawn", lambda *, counted: [] if counted else drawn(counted=False)[:1])
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        try:
            yield
        finally:
            for number, handler in kept:
                signal.signal(number, handler)


def status_of_main() -> int:
    try:
        command_line.main()
    except SystemExit as leave:
        return int(leave.code or 0)
    return 0


def typed(folder: Path, *options: str, cells: Sequence[Cell] = CELLS) -> Ended:
    """Type the command and return how it ended."""
    screen = io.StringIO()
    with (
        typing(folder, *options, cells=cells),
        contextlib.redirect_stdout(screen),
        contextlib.redirect_stderr(screen),
    ):
        status = status_of_main()
        gc.collect()  # what a run that fails leaves open is closed by the end of its process, which is not here
    return Ended(status, screen.getvalue())


def rows_of(folder: Path) -> dict[str, Record]:
    """Return the rows of a run by their keys, none if there is no file of them."""
    there = (folder / store.RECORDS).exists()
    return {record.cell.key: record for record in store.read(folder)} if there else {}


def completed(folder: Path, *, cells: Sequence[Cell] = CELLS) -> dict[str, Record]:
    """Type the command once more; assert that it completes the run; return its rows."""
    again = typed(folder, cells=cells)
    assert again.status == 0, again.said
    rows = rows_of(folder)
    assert {key: record.status for key, record in rows.items()} == {cell.key: "ok" for cell in cells}
    assert (folder / "report.md").exists()
    return rows


def well_said(ended: Ended) -> None:
    """Assert that how a run ended is said in a line, and is no traceback."""
    assert "Traceback" not in ended.said, ended.said
    if ended.status not in {0, 130}:
        told = [line for line in ended.said.splitlines() if line.startswith(("attnbench: ", "Error: "))]
        assert any(not line.startswith("attnbench: warning") for line in told), ended.said
