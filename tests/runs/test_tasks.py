"""Tasks that many mechanisms learn: a run a task, and a page that says what separates whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from attnbench.accuracy.data import places
from attnbench.accuracy.tasks import table
from attnbench.cli import invocation
from attnbench.cli.measuring import claims
from attnbench.cli.tasking import tasks
from attnbench.errors import UsageError
from attnbench.record import Cell, Record, Status, Task
from attnbench.report import tasks as task_pages
from attnbench.report.page.markdown import markdown
from attnbench.runs import session
from attnbench.runs import tasks as learning

CURVES = {
    "whole": ("1: 1 1; 2: 1 1; 16: 1 0.9", "1: 1; 2: 1; 16: 1"),
    "windows": ("1: 0.9 0.8; 2: 0.7 0.7; 16: 0.12 0.13", "1: 0.9; 2: 0.8; 16: 0.125"),
    "slow": ("1: 0.9 0.9; 2: 0.2 0.3; 16: 0.12 0.13", "1: 1; 2: 1; 16: 1"),
}


def record(name: str, status: Status = Status.OK, reason: str = "", **metrics: Any) -> Record:
    cell = Cell(task=Task.ACCURACY, mechanism=name, height=6, width=24, dataset="shift:offset=1,2,16", seeds=2)
    return Record(cell=cell, status=status, reason=reason, metrics=metrics)


def found() -> task_pages.TaskPart:
    records = [record(n, accuracy_curve=c, accuracy_ceiling=m) for n, (c, m) in CURVES.items()]
    return task_pages.part("shift:offset=1,2,16", [*records, record("broken", Status.FAILED, "no map")])


def test_who_ends_with_its_reach_is_told_from_who_ends_before() -> None:
    text = markdown(task_pages.brief([found()]), Path())
    assert "**To 16 tokens, the farthest asked:** whole" in text
    assert "**As far as their reach allows, and no farther:** windows (to 2)" in text
    assert "**Less far than their reach allows:** slow (to 1 of 16)" in text
    assert "Without figures: broken: failed, no map" in text


def test_the_page_has_the_command_and_every_figure_with_its_interval() -> None:
    page = task_pages.page([found()], command="attnbench tasks", environments=["hardware: X"], pictures={})
    text = markdown(page, Path())
    assert "attnbench tasks\n" in text
    # Of 100 and 90 %: t(0.975, 1 degree of freedom) = 12.706 times 5 is more than the whole scale.
    assert "| whole | 100.0 \\[100.0, 100.0\\] | 100.0 \\[100.0, 100.0\\] | 95.0 \\[31.5, 100.0\\] | 16 | 16 |" in text
    assert text.index("| whole") < text.index("| windows") < text.index("| slow")


def test_the_command_learns_says_and_writes_and_is_not_repeated(tmp_path: Path) -> None:
    asked = ["shift:offset=1", "--mechanisms", "qna", "--seeds", "1", "--epochs", "1", "--device", "cpu",
             "--out", str(tmp_path / "out"), "--markdown", str(tmp_path / "page.md")]  # fmt: skip
    first, again = (CliRunner().invoke(tasks, asked, catch_exceptions=False) for _ in range(2))
    assert (first.exit_code, again.exit_code) == (0, 0), first.output
    assert "1 of 1 cells have their row" in again.output
    page = (tmp_path / "page.md").read_text()
    assert f"shift: {table.TASKS['shift'].help}" in page
    assert "(out/plots/task-shift-offset-1.png)" in page
    assert (tmp_path / "out" / "plots" / "task-shift-offset-1.png").is_file()
    assert (tmp_path / "out" / "shift-offset-1" / "records.jsonl").is_file()


@pytest.mark.parametrize("retry", [True, False])
@pytest.mark.parametrize(("command", "asked"), [(tasks, ["shift"]), (claims, ["--until", "counts"])])
def test_what_did_not_end_well_is_gone_at_again_where_that_is_asked_for(
    command: click.Command, asked: list[str], *, retry: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def measured(*_: Any, **how: Any) -> session.SessionOutcome:
        told.append(how["retry"])
        return session.SessionOutcome(records=(), interrupted=True)

    monkeypatch.setattr(session, "measure", measured)
    more = ["--mechanisms", "qna", "--device", "cpu", "--out", str(tmp_path), *(["--retry"] if retry else [])]
    assert CliRunner().invoke(command, [*asked, *more]).exit_code == invocation.INTERRUPTED
    assert told == [retry]


def test_a_task_that_there_is_none_of_is_refused_before_anything_is_learned(tmp_path: Path) -> None:
    asked = ["shift", "recal", "--mechanisms", "qna", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(tasks, asked)
    assert isinstance(done.exception, UsageError)
    assert "did you mean recall" in done.exception.mistakes[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["digits", "folder:x"])
def test_a_data_set_is_no_task(name: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(tasks, [name, "--mechanisms", "qna", "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, UsageError)
    assert f"{name} is no task" in done.exception.mistakes[0]


def test_without_fashion_mnist_what_shows_it_is_left_out_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(places, "FASHION_MNIST", tmp_path / "none")
    found = learning._all_that_can_be_learned(Console(width=60))
    assert found == ("shift", "recall", "recall-pairs")
    assert capsys.readouterr().out == (
        "same-different is left out: it shows Fashion-MNIST; install Debian's package dataset-fashion-mnist\n"
    )
    monkeypatch.setattr(places, "FASHION_MNIST", tmp_path)
    assert learning._all_that_can_be_learned(Console()) == tuple(table.TASKS)
