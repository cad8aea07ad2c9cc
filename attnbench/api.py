"""Sweeps from Python: ``attnbench.run`` measures one, ``attnbench.load`` opens what is on disk. Imports no torch.

The measuring is done by child processes, as from the command line, so that it can be called from a notebook, and from a
script without a guard around it.
"""

from __future__ import annotations

import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.axes import AXES, texts
from attnbench.errors import StoreError, UsageError, did_you_mean
from attnbench.record import Record, Status
from attnbench.wording import number_of

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from attnbench.verify import KeptVerification


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Records of one run or of several, with what is made of them.

    Example:
        >>> from attnbench.record import Cell, Record, Status
        >>> cell = Cell(mechanism="mhsa", height=224, width=224)
        >>> record = Record(cell=cell, status=Status.OK, metrics={"params": 7})
        >>> run = Run(folders=(Path("results/x"),), records=(record,))
        >>> run
        Run(1 record, results/x)
        >>> run.frame()[["mechanism", "params"]].to_dict("records")
        [{'mechanism': 'mhsa', 'params': 7}]
    """

    folders: tuple[Path, ...]
    records: tuple[Record, ...]
    """The latest of each cell: of those that were asked for, where this was a sweep."""
    interrupted: bool = False
    """Whether it was stopped before its end; run the same call to resume."""

    @property
    def failed(self) -> tuple[Record, ...]:
        """The records of cells that did not end ok; status and reason say why."""
        return tuple(record for record in self.records if record.status is not Status.OK)

    def frame(self) -> pd.DataFrame:
        """Return one row per cell with the columns of ``records.csv``, described in ``docs/figures.md``."""
        from attnbench.report.rows import rows  # noqa: PLC0415 - pandas

        return rows(self._bounded())

    def report(self, out: str | Path | None = None) -> Path:
        """Write tables, plots and a page of all that the folders hold, and return the page.

        Args:
            out: folder to write; the run's own if there is one, and by default.

        Raises:
            StoreError: it cannot be written.
        """
        from attnbench.runs import reporting  # noqa: PLC0415 - pandas

        where = Path(out) if out is not None else self.folders[0]
        reporting.make_report(self.folders, out=where, console=_console(shown=False), command="")
        return where / "report.md"

    def table(self, *, width: int = 120) -> str:
        """Return the table that the command line shows, in lines of so many characters."""
        from attnbench.report.console import console as console_of  # noqa: PLC0415 - rich: a tenth of a second
        from attnbench.report.findings import Findings  # noqa: PLC0415 - pandas
        from attnbench.report.page.screen import screen  # noqa: PLC0415 - rich
        from attnbench.report.summary import tables  # noqa: PLC0415 - pandas

        console = console_of(file=io.StringIO(), width=width, color_system=None)
        with console.capture() as captured:
            console.print(screen(tables(Findings.of(self._bounded()))))
        return captured.get()

    def _bounded(self) -> Sequence[Record]:
        """Return the records with the least latency that their machines allow as a report has it."""
        from attnbench.report.bounds import at_roofs  # noqa: PLC0415
        from attnbench.runs import limits  # noqa: PLC0415

        return at_roofs(self.records, limits.of_all(self.folders))

    def verify(self, *, counts: bool = True, again: int = 0) -> tuple[KeptVerification, ...]:
        """Hold each of the folders, or those of its workers, against ``docs/rules.md``: what is kept, worked out again.

        Args:
            counts: count parameters and multiply-adds again, in a child process, of what is installed here as it was.
            again: measure so many cells again, chosen at random.

        Raises:
            StoreError: a folder cannot be read.
        """
        from attnbench.store import parts  # noqa: PLC0415
        from attnbench.verify import verify  # noqa: PLC0415 - pandas

        within = [part for folder in self.folders for part in parts.of(folder) or [folder]]
        return tuple(verify(part, counts=counts, again=again) for part in within)

    def __repr__(self) -> str:
        count = number_of(len(self.records), "record")
        stopped = ", interrupted" if self.interrupted else ""
        return f"Run({count}, {', '.join(map(str, self.folders))}{stopped})"

    def _repr_html_(self) -> str:
        """Return the frame without its empty columns, as notebooks show it."""
        html: str = self.frame().dropna(axis="columns", how="all").to_html(notebook=True, escape=True)
        return html


def run(
    *,
    out: str | Path | None = None,
    fresh: bool = False,
    retry: bool = False,
    hardware: Sequence[str] = (),
    require_idle: float | None = None,
    progress: bool = True,
    **asked: Any,  # noqa: ANN401 - each axis and setting has its own kind
) -> Run:
    """Measure a sweep, every combination of the axes, and return its records.

    What has its row already is not measured again. Every row is on disk as soon as it is known. In a folder that is
    planned for many machines it works as one of them, until nothing is left that this one can do.

    Args:
        out: folder of the run; by default one under ``results/`` that is named after the sweep.
        fresh: put what the folder holds aside and start over.
        retry: run again the cells that did not end ok.
        hardware: kinds of hardware to measure on, such as ``["h100", "epyc"]``: the folder is planned for many
            machines, and this one measures what it can.
        require_idle: time nothing while others use the machine; seconds to wait for that, then it is given up.
        progress: show each cell as it ends.
        **asked: options of ``attnbench run`` by their names, with ``_`` for ``-``: a value, a list of values, or a text
            with commas. Axes such as ``mechanisms=["hmhsa", "qna"]``, ``res=[224, 512]``; settings such as
            ``max_time=2``.

    Raises:
        UsageError: anything asked for cannot be used; nothing has run then.
        StoreError: the folder cannot be written, or what is in it cannot be read, or the machine is to be idle and is
            not.

    Example:
        >>> from tempfile import mkdtemp
        >>> counted = run(mechanisms=["mhsa", "qna"], res=[64], until="counts", progress=False, out=mkdtemp())
        >>> counted.frame()["mechanism"].tolist()
        ['mhsa', 'qna']
    """
    from attnbench.fleet import joined  # noqa: PLC0415 - pandas
    from attnbench.fleet import kinds as hardware_kinds  # noqa: PLC0415
    from attnbench.plan.given import default_threads, read_request  # noqa: PLC0415
    from attnbench.runs import session  # noqa: PLC0415 - pandas

    _refuse_unknown(asked)
    request, settings = read_request(None, asked, threads=default_threads())
    kinds = hardware_kinds.read([*texts(hardware)] if hardware else (), {})
    shared = joined.folder_for(request, kinds, None if out is None else Path(out))
    folder = shared or (Path(out) if out is not None else session.folder_of(request))
    how: dict[str, Any] = {
        "settings": settings,
        "folder": folder,
        "fresh": fresh,
        "retry": retry,
        "console": _console(shown=progress),
        "command": _typed({**asked, "hardware": hardware or None, "require_idle": require_idle}, out),
        "idle_within_s": require_idle,
    }
    outcome = (
        joined.measure(request, kinds=kinds, **how)
        if shared
        else session.measure(session.plan(request, settings), **how)
    )
    if outcome.stopped:
        raise StoreError(outcome.stopped)
    return Run(folders=(folder,), records=outcome.records, interrupted=outcome.interrupted)


def load(*folders: str | Path) -> Run:
    """Open runs that are on disk, or files that pytest-benchmark wrote with ``--benchmark-json``.

    Raises:
        UsageError: no folder is given.
        StoreError: one cannot be read.

    Example:
        >>> from tempfile import mkdtemp
        >>> from attnbench.record import Cell
        >>> from attnbench.store import Store
        >>> folder = Path(mkdtemp())
        >>> with Store(folder) as store:
        ...     store.append(Record(cell=Cell(mechanism="qna", height=224, width=224), status=Status.OK))
        >>> load(folder).frame()["mechanism"].tolist()
        ['qna']
    """
    if not folders:
        raise UsageError("attnbench.load needs the folder of a run, such as attnbench.load('results/x')")
    from attnbench.runs import reporting  # noqa: PLC0415 - pandas

    paths = tuple(map(Path, folders))
    return Run(folders=paths, records=tuple(record for path in paths for record in reporting.read(path)))


def _refuse_unknown(asked: Mapping[str, Any]) -> None:
    from attnbench.plan.given import known_names  # noqa: PLC0415

    known = known_names()
    if unknown := [name for name in asked if name not in known]:
        raise UsageError(*(f"attnbench.run has no {name!r}; {did_you_mean(name, known)}" for name in unknown))


def _typed(asked: Mapping[str, Any], out: str | Path | None) -> str:
    """Return the command that measures the same."""
    words = ["attnbench", "run"]
    for name, value in {**asked, "out": out}.items():
        if value is None or (value is False and name not in AXES):
            continue
        words.append(f"--{name.replace('_', '-')}")
        words += [] if value is True and name not in AXES else [",".join(texts(value))]
    return shlex.join(words)


def _console(*, shown: bool) -> Console:
    from attnbench.report.console import console  # noqa: PLC0415 - rich: a tenth of a second

    return console(quiet=not shown)
