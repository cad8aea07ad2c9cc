import sys
import types
from io import StringIO

import pytest
from rich.console import Console

from attnbench.record import Cell, Record, Status
from attnbench.runs import screen as screens
from attnbench.runs.job import Settings
from attnbench.runs.progress import Progress
from attnbench.runs.screen import Screen, loading


def test_what_is_loaded_is_shown_on_a_terminal_as_it_is_written_and_nowhere_else() -> None:
    shown = {}
    for terminal in (True, False):
        console = Console(file=StringIO(), force_terminal=terminal, width=80)
        with loading(console) as tell:
            tell("./mine.py:[bold]Hangs")
        shown[terminal] = console.file.getvalue()
    assert "loading ./mine.py:[bold]Hangs" in shown[True]
    assert not shown[False]


CELLS = [Cell(mechanism=name, height=64, width=64) for name in ("qna", "mhsa")]


def lines_of(*happened: Progress) -> list[str]:
    """Return what a screen that is no terminal shows."""
    console = Console(file=StringIO(), force_terminal=False, width=40)
    with Screen(console, CELLS, settings=Settings(max_time_s=20)) as screen:
        for each in happened:
            screen.watch(each)
    return console.file.getvalue().splitlines()


def test_each_phase_that_takes_time_has_a_line_off_a_terminal_and_no_other() -> None:
    one, both = (CELLS[0],), tuple(CELLS)
    phases = [*((one, each) for each in ("loading", "counting", "building", "measuring memory"))]
    told = lines_of(*(Progress(cells=cells, phase=phase) for cells, phase in [*phases, (both, "warming up")]))
    assert [line.partition(" infer")[0] for line in told[1:]] == [
        "counting qna at 64",
        "measuring the memory of qna at 64",
        "warming up 64",
    ]


def test_of_a_large_group_the_first_cells_are_named() -> None:
    cells = tuple(Cell(mechanism=name, height=64, width=64) for name in "abcdefghijk")
    assert "a, b, c, d, e, f, g, h and 3 more" in lines_of(Progress(cells=cells, phase="warming up"))[-1]


def test_the_time_left_is_what_timing_is_given_and_what_cells_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, *[10.0] * 9])
    monkeypatch.setattr(screens.time, "monotonic", lambda: next(clock))
    told = lines_of(Progress(cells=tuple(CELLS), phase="timing"))
    assert told[-1].endswith("qna, mhsa, 0:40 unless the fewest calls take longer; 0:10 so far, about 0:40 left")


def test_a_phase_that_lasts_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(screens.time, "monotonic", lambda: now[0])
    console = Console(file=StringIO(), force_terminal=False, width=40)
    with Screen(console, CELLS, settings=Settings(max_time_s=100)) as screen:
        for now[0] in (0.0, 10.0, 31.0, 40.0):
            screen.watch(Progress(cells=tuple(CELLS), phase="timing", fraction=now[0] / 200))
    told = console.file.getvalue().splitlines()[1:]
    assert [line.partition("mhsa, ")[2] for line in told] == [
        "0%; 0:00 so far, about 3:20 left",
        "16%; 0:31 so far, about 2:49 left",
    ]


class Notebook(types.ModuleType):
    """What a notebook shows: a line for each thing that was displayed, as it reads now."""

    def __init__(self) -> None:
        super().__init__("IPython.display")
        self.lines: list[str] = []

    def display(self, said: dict[str, str], *, raw: bool, display_id: bool) -> "Notebook":
        assert raw
        assert display_id
        self.lines.append(said["text/plain"])
        return self

    def update(self, said: dict[str, str], *, raw: bool) -> None:
        self.lines[-1] = said["text/plain"]


def test_a_notebook_has_one_line_that_is_written_over_and_the_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook()
    monkeypatch.setitem(sys.modules, "IPython.display", notebook)
    console = Console(file=StringIO(), force_jupyter=False, width=80)
    console.is_jupyter = True
    with Screen(console, CELLS, settings=Settings(max_time_s=20)) as screen:
        screen.watch(Progress(cells=(CELLS[0],), phase="counting"))
        (during,) = notebook.lines
        monkeypatch.setattr(console, "is_jupyter", False)  # what it prints is looked at here
        screen.show(Record(cell=CELLS[0], status=Status.OK))
        screen.show(Record(cell=CELLS[1], status=Status.FAILED, reason="no room\x1b[2J"))
    assert during.startswith("0 of 2 cells; counting qna at 64")
    (line,) = notebook.lines
    assert line.startswith("2 of 2 cells; 0:0")
    assert [each for each in console.file.getvalue().splitlines() if "mhsa" in each]
    assert "qna" not in console.file.getvalue()
