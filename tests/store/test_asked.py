"""What a run was asked for is kept, so that a report says what is missing and how to go on."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from attnbench.plan.described import described
from attnbench.plan.sweep import Sweep
from attnbench.record import Cell, Record, Scope, Status
from attnbench.runs import reporting, session
from attnbench.runs.job import Settings
from attnbench.store import asked
from attnbench.store.records import Store

CELL = Cell(mechanism="mhsa", scope=Scope.LAYER, height=64, width=64, stage=3, dim=8, heads=2, depth=1)
CELLS = [CELL, replace(CELL, mechanism="qna"), replace(CELL, mechanism="qna", height=128, width=128)]


def test_commands_and_cells_of_a_folder_add_up_until_it_is_started_over(tmp_path: Path) -> None:
    asked.keep(tmp_path, command="first", cells={"a": "mhsa at 64"}, fresh=False)
    asked.keep(tmp_path, command="second", cells={"b": "qna at 64"}, fresh=False)
    asked.keep(tmp_path, command="first", cells={"a": "mhsa at 64"}, fresh=False)
    found = asked.read(tmp_path)
    assert found.commands == ("first", "second")
    assert found.missing(["b"]) == ("mhsa at 64",)
    asked.keep(tmp_path, command="second", cells={"b2": "qna, mended, at 64"}, fresh=False)
    assert asked.read(tmp_path).missing(["a"]) == ("qna, mended, at 64",)
    asked.keep(tmp_path, command="third", cells={"c": "xca at 64"}, fresh=True)
    assert asked.read(tmp_path).commands == ("third",)
    assert asked.read(tmp_path).missing([]) == ("xca at 64",)


def test_a_folder_that_does_not_say_was_asked_for_nothing(tmp_path: Path) -> None:
    assert asked.read(tmp_path) == asked.NOTHING


@pytest.mark.parametrize("content", ["", "{}", '{"by_command": {"a', '{"by_command": {}, "later": 1}', "[" * 100_000])
def test_a_file_that_cannot_be_read_costs_what_was_asked_before_and_is_kept(content: str, tmp_path: Path) -> None:
    path = tmp_path / asked.ASKED
    path.write_text(content)
    with pytest.warns(UserWarning, match=r"asked\.json.*; what was asked for before is not known"):
        assert asked.read(tmp_path) == asked.NOTHING
    with pytest.warns(UserWarning, match=r"it is kept as asked\.unread\.json, and begun anew"):
        asked.keep(tmp_path, command="run", cells={"a": "mhsa at 64"}, fresh=False)
    assert asked.read(tmp_path).commands == ("run",)
    assert (tmp_path / "asked.unread.json").read_text() == content


def test_cells_of_the_same_words_differ_by_their_options() -> None:
    three, five = (replace(CELL, mechanism="qna", options={"window": side, "queries": 2}) for side in (3, 5))
    assert list(described([CELL, three, five]).values()) == [
        "mhsa at 64 stage 3 infer float32 cpu",
        "qna at 64 stage 3 infer float32 cpu, window=3",
        "qna at 64 stage 3 infer float32 cpu, window=5",
    ]


def test_the_report_of_a_stopped_run_says_what_was_not_reached_and_how_to_go_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Store(run) as kept:
        kept.append(Record(cell=CELL, status=Status.OK, metrics={"params": 8, "macs": 64}))
    asked.keep(run, command="attnbench run --mechanisms qna --res 64,128", cells=described(CELLS), fresh=False)
    screen = io.StringIO()
    reporting.make_report(
        [run], out=tmp_path / "out", console=Console(file=screen, width=200), command="attnbench report"
    )
    assert "2 of the 3 cells asked for have no row: qna at 64" in screen.getvalue()
    page = (tmp_path / "out" / "report.md").read_text()
    assert "## What was asked for and not reached\n\n- qna at 64 stage 3 infer float32 cpu\n- qna at 128" in page
    assert "attnbench run --mechanisms qna --res 64,128" in page
    assert "attnbench report" not in page


def test_a_folder_whose_name_looks_like_markup_is_shown_as_it_is(tmp_path: Path) -> None:
    run, screen = tmp_path / "runs[red] of [b]", io.StringIO()
    with Store(run) as kept:
        kept.append(Record(cell=CELL, status=Status.OK))
    session.measure(
        Sweep(cells=(CELL,), baselines={}),
        settings=Settings(),
        folder=run,
        fresh=False,
        retry=False,
        console=Console(file=screen, width=80),
        command="",
    )
    assert f"1 of 1 cells have their row in {run}\n" in screen.getvalue()


def test_what_is_missing_is_found_by_reading_the_keys_once() -> None:
    class Keys(list[str]):
        read = 0

        def __iter__(self):
            self.read += 1
            return super().__iter__()

    keys = Keys(["a", "b"])
    assert asked.Asked(by_command={"run": {"a": "1", "b": "2", "c": "3"}}).missing(keys) == ("3",)
    assert keys.read == 1
