"""Who answers for what timed calls have changed for everyone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from attnbench.record import Cell, Status
from attnbench.runs.job import Assignment, Event, Job, Settings
from attnbench.worker.blame import blamed
from attnbench.worker.leftovers import OthersTurns
from attnbench.worker.ready import Ready
from attnbench.worker.surroundings import Surroundings, Turns

OURS = Cell(mechanism="mhsa", height=64, width=64, distribution="attnbench 0.1.0")
THEIRS = [Cell(mechanism=name, height=64, width=64, distribution="somebody 1.0") for name in "ab"]


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Iterator[Surroundings]:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # pytest's own change
    taken = Surroundings()
    yield taken
    taken.settle()


def blame(
    cells: list[Cell], house: Surroundings | None, folder: Path, *, others: OthersTurns | None = None
) -> tuple[bool, list[Event]]:
    """Ask who is to blame among cells that were timed."""
    job = Job(
        assignments=tuple(Assignment(cell=cell) for cell in cells),
        baseline="",
        settings=Settings(),
        samples=str(folder),
    )
    ready = [
        Ready(
            index=index,
            cell=cell,
            model=nn.Identity(),
            x=torch.zeros(1),
            call=lambda: None,
            layers=1,
            parameters_bytes=0,
            found={},
        )
        for index, cell in enumerate(cells)
    ]
    events: list[Event] = []
    found = blamed(ready, job, events.append, house, Turns([one.world for one in ready]), others=others)
    return found, events


def test_where_nothing_was_changed_nobody_is_to_blame(house: Surroundings, tmp_path: Path) -> None:
    assert blame([OURS, *THEIRS], house, tmp_path) == (False, [])
    assert blame([OURS], None, tmp_path) == (False, [])


def test_the_only_plugin_is_rejected_and_the_others_left_to_another_process(
    house: Surroundings, tmp_path: Path
) -> None:
    functional.softmax = functional.gelu
    found, events = blame([OURS, THEIRS[0]], house, tmp_path)
    assert found
    (event,) = events
    assert (event["event"], event["cell"], event["status"]) == ("done", 1, Status.REJECTED)
    said = "its timed calls change the process for everyone: rebinds torch.nn.functional.softmax"
    assert event["reason"].endswith(said)
    assert event["own"]


def test_of_several_plugins_each_is_measured_by_itself(house: Surroundings, tmp_path: Path) -> None:
    functional.softmax = functional.gelu
    found, events = blame([OURS, *THEIRS], house, tmp_path)
    assert found
    assert [(event["event"], event["cell"]) for event in events] == [("apart", 1), ("apart", 2)]


@pytest.mark.parametrize("plugins", [1, 2])
def test_who_burns_cores_in_the_turns_of_others_is_not_timed_beside_them(
    plugins: int, house: Surroundings, tmp_path: Path
) -> None:
    """The others have no event, so that they are measured again without it, in a process that follows."""
    seconds = iter([0.0, 10.0])
    others = OthersTurns(lambda: {"a thread": 0.5 * now[0]}, lambda: now[0])
    now = [next(seconds)]
    others.begin()
    now[0] = next(seconds)
    others.end()
    found, events = blame([OURS, *THEIRS[:plugins]], house, tmp_path, others=others)
    assert found
    assert [event["cell"] for event in events] == [*range(1, plugins + 1)]
    assert {event["event"] for event in events} == {"done" if plugins == 1 else "apart"}
    assert events[0]["reason"].endswith("what they have started keeps 0.5 cores busy in others' turns")
