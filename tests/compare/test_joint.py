"""Two revisions in one process for real: layers on disk that are built, counted and timed against each other."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from attnbench.compare import joint
from attnbench.compare.revision import Revision
from attnbench.compare.together import EVENTS
from attnbench.reading import structured
from attnbench.record import Cell, Scope
from attnbench.runs.job import Assignment, Job, Settings

DEFINES = "torch.library.custom_op('gate::op', lambda x: x.clone(), mutates_args=(), schema='(Tensor x) -> Tensor')"
LAYER = """
import torch
{before}

class Scaling(torch.nn.Module):
    layout = "BHWC"

    def __init__(self, dim{options}):
        super().__init__()
        from part_of_scaling import PARAMETERS
        self.weight = torch.nn.Parameter(torch.ones(PARAMETERS))

    def forward(self, x):
        return x * self.weight[0]
"""


class _EnoughError(BaseException):
    """Nobody listens any more."""


@pytest.fixture
def trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """A working tree whose folder is on the path, and a checkout of its base: layers of 5 and of 3 parameters."""
    top, tree = tmp_path / "top", tmp_path / "tree"
    for folder, parameters in ((top, 5), (tree, 3)):
        (folder / "layers").mkdir(parents=True)
        (folder / "layers" / "part_of_scaling.py").write_text(f"PARAMETERS = {parameters}\n")
        write(folder)
    monkeypatch.syspath_prepend(str(top / "layers"))
    before, threads = set(sys.modules), torch.get_num_threads()
    yield top, tree
    torch.set_num_threads(threads)
    for name in set(sys.modules) - before:
        if name.startswith(("attnbench_local", "part_of_scaling")):
            del sys.modules[name]


def write(folder: Path, *, before: str = "", options: str = "") -> None:
    (folder / "layers" / "scaling.py").write_text(LAYER.format(before=before, options=options))


def said(trees: tuple[Path, Path], *, blocks: int = 3, **cell: Any) -> list[dict[str, Any]]:
    """Return what the child says until so many blocks are timed; each event is one that the parent expects."""
    top, tree = trees
    site = {"scope": Scope.LAYER, "height": 32, "width": 32, "stage": 1, "dim": 8, "heads": 2, "depth": 2}
    cells = [
        Cell(mechanism=f"{folder / 'layers' / 'scaling.py'}:Scaling", distribution="scaling.py 1", **site | cell)
        for folder in (tree, top)
    ]
    job = Job(assignments=tuple(Assignment(cell=one) for one in cells), baseline="", settings=Settings(), samples="")
    events: list[dict[str, Any]] = []

    def say(event: dict[str, Any]) -> None:
        events.append(event)
        assert structured({k: v for k, v in event.items() if k != "event"}, EVENTS[event["event"]])
        if sum(each["event"] == "block" for each in events) == blocks:
            raise _EnoughError

    with contextlib.suppress(_EnoughError):
        joint.serve(job, [Revision(top, tree), Revision(top, top)], say)
    return events


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in events if each["event"] == kind]


def test_each_side_is_its_own_revision_whatever_it_imports_when_it_is_built(trees: tuple[Path, Path]) -> None:
    events = said(trees)
    params = {each["cell"]: each["metrics"]["params"] for each in of(events, "metrics") if "params" in each["metrics"]}
    assert params == {0: 3, 1: 5}
    assert [ready["layers"] for ready in of(events, "ready")] == [2]
    assert len(of(events, "block")) == 3
    for each in of(events, "block"):
        assert len(each["base_ns"]) == len(each["head_ns"]) >= 15
        assert min(each["base_ns"] + each["head_ns"]) > 0


def test_a_side_has_the_options_that_its_revision_knows(trees: tuple[Path, Path]) -> None:
    write(trees[0], options=", factor: float = 2.0")
    events = said(trees, blocks=1, options={"factor": 3.0})
    assert {each["cell"]: each["options"] for each in of(events, "options")} == {0: {}, 1: {"factor": 3.0}}


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("raise RuntimeError('not today')", "does not import: RuntimeError: not today"),
        (DEFINES, "both define gate::op, and torch has one operator of a name"),
    ],
)
def test_what_cannot_be_in_one_process_is_said_and_nothing_timed(
    trees: tuple[Path, Path], before: str, why: str
) -> None:
    for tree in trees if why.startswith("both") else trees[:1]:
        write(tree, before=before)
    events = said(trees)
    assert why in of(events, "incompatible")[0]["reason"]
    assert not of(events, "block")


def test_what_one_side_has_rebound_for_everyone_is_no_affair_of_the_other(trees: tuple[Path, Path]) -> None:
    """Head's calls find what it has put in place of torch's function, base's find torch's."""
    before = "old = torch.Tensor.mul\ntorch.Tensor.mul = lambda x, y: old(x, y)"
    write(trees[0], before=before)
    was = torch.Tensor.mul
    events = said(trees)
    assert len(of(events, "block")) == 3
    assert torch.Tensor.mul is was
    changes = {each["cell"] for each in of(events, "metrics") if "process_changes" in each["metrics"]}
    assert changes == {1}
