"""A mechanism gains an option, and the rows of before stay those of the same layer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from attnbench import store
from attnbench.compare.lockstep import as_known_here
from attnbench.compare.pairing import match
from attnbench.compare.runs import compare
from attnbench.errors import PluginError
from attnbench.plan.sweep import again
from attnbench.plugins import options
from attnbench.record import Cell, Record

LAYER = '''
import torch
from attnbench import Macs, Mechanism

class Scaling(Mechanism):
    """Scales its map."""

    reach = "local"
    {added}

    def __init__(self, site{taken}):
        super().__init__(site)
        self.weight = torch.nn.Parameter(torch.ones(site.dim))

    def forward(self, x):
        return x * self.weight

    @classmethod
    def macs(cls, site, **options):
        return Macs(projections=site.tokens, attention=0)
'''
BEFORE = LAYER.format(added="", taken=", *, window: int = 7")
SINCE = LAYER.format(added='added = {"heat": 1.0}', taken=", *, window: int = 7, heat: float = 1.0")


class Grown:
    added: ClassVar[Mapping[str, Any]] = {"heat": 1.0, "mode": "plain"}

    def __init__(self, site: object, *, window: int = 7, heat: float = 1.0, mode: str = "new") -> None: ...


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {"window": 7, "mode": "new"}),
        ({"heat": "1"}, {"window": 7, "mode": "new"}),
        ({"heat": "2"}, {"window": 7, "heat": 2.0, "mode": "new"}),
        # Its default has moved on from what the layer was: left out it would mean one thing before and another since.
        ({"mode": "plain"}, {"window": 7, "mode": "plain"}),
    ],
)
def test_an_option_that_came_later_is_left_out_where_it_changes_nothing(given: dict[str, str], told: Any) -> None:
    assert options.resolve(Grown, given) == told


@pytest.mark.parametrize("added", [["heat"], {"cold": 1.0}, {"heat": ()}, 3])
def test_what_names_no_options_with_their_values_is_refused_with_what_to_write(added: Any) -> None:
    wrong = type("Wrong", (Grown,), {"added": added})
    with pytest.raises(PluginError, match=r"Wrong\.added is .*; give options of the class"):
        options.resolve(wrong, {})


def test_a_value_of_another_kind_is_no_default() -> None:
    assert options.at_default(Grown, {"window": 7, "heat": 1, "mode": "new"}) == ("window", "mode")


RUNS = """
import shutil, sys
from pathlib import Path

import attnbench

before, since = Path("before.txt").read_text(), Path("since.txt").read_text()
asked = dict(baseline="none", res=64, scope="layer", stage=3, until="counts")
if __name__ == "__main__":
    for text, out, named in (
        (before, "kept", ["tiny_scaling"]),
        (since, "kept", ["tiny_scaling:heat=1"]),
        (since, "new", ["tiny_scaling", "hot=tiny_scaling:heat=3:window=9"]),
    ):
        Path("tiny.py").write_text(text)
        shutil.rmtree("__pycache__", ignore_errors=True)
        attnbench.run(mechanisms=named, out=out, **asked)
        if text is before:
            shutil.copytree("kept", "as_kept")
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run an installed plugin, give it an option, run it again in the same folder, and with the option in another."""
    folder = tmp_path_factory.mktemp("grown")
    metadata = folder / "tiny-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[attnbench.mechanisms]\ntiny_scaling = tiny:Scaling\n")
    for name, text in (("before.txt", BEFORE), ("since.txt", SINCE), ("runs.py", RUNS)):
        (folder / name).write_text(text)
    here = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "runs.py"], cwd=folder, env=os.environ | {"PYTHONPATH": here}, check=True)
    return folder


def test_its_cells_are_resumed_and_nothing_is_measured_again(runs: Path) -> None:
    rows = [(runs / name / store.RECORDS).read_bytes() for name in ("as_kept", "kept")]
    assert rows[0] == rows[1]
    assert len(store.read(runs / "kept")) == 1


def test_runs_of_before_and_since_are_paired_cell_by_cell(runs: Path) -> None:
    base, head = (store.read(runs / name) for name in ("kept", "new"))
    matched = match(base, head)
    (pair,) = matched.pairs
    assert pair.base.cell.key == pair.head.cell.key
    assert not pair.changed_options
    assert [cell.alias for cell in matched.only_in_head] == ["hot"]
    assert [(one.outcome, one.reason) for one in compare(runs / "kept", runs / "new").about("macs")] == [("same", "")]


def test_what_is_shown_to_be_typed_has_the_options_that_are_not_at_their_defaults(runs: Path) -> None:
    assert [_spelled(record.cell) for record in store.read(runs / "new")] == [
        "tiny_scaling",
        "tiny_scaling:heat=3.0:window=9",
    ]


def test_of_rows_that_do_not_say_what_had_its_default_all_is_shown_that_may_have_been_given() -> None:
    cell = {"mechanism": "swin", "options": {"window": 7, "shift": "none", "backend": "sdpa"}}
    read = [
        Record.from_json(json.dumps({"format": 3, "cell": cell | {"height": 64, "width": 64} | more, "status": "ok"}))
        for more in ({"given": ["shift"]}, {})
    ]
    assert [_spelled(record.cell) for record in read] == [
        "swin:shift=none:backend=sdpa",
        "swin:window=7:shift=none:backend=sdpa",
    ]


def _spelled(cell: Cell) -> str:
    return again(cell).split()[3]


def test_a_revision_that_has_the_option_and_one_that_has_not_are_asked_for_the_same_cell(tmp_path: Path) -> None:
    known = []
    for name, text in (("before", BEFORE), ("since", SINCE)):
        (tmp_path / f"{name}.py").write_text(text)
        asked = Cell(mechanism=f"{tmp_path / name}.py:Scaling", options={"window": 9}, height=64, width=64)
        known.append(as_known_here(asked).options)
    assert known == [{"window": 9}, {"window": 9}]
