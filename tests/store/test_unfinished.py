import json
from pathlib import Path

import pytest

from attnbench.record import Cell
from attnbench.store import unfinished

CELL, OTHER = (Cell(mechanism=name, height=64, width=64) for name in ("qna", "mhsa"))


def keep(folder: Path, phase: str, cell: Cell = CELL, environment_id: str = "here", **metrics: int) -> None:
    unfinished.keep(folder, cell, environment_id, phase, metrics)


def test_what_phases_found_is_read_together(tmp_path: Path) -> None:
    keep(tmp_path, "counting", macs=7)
    keep(tmp_path, "measuring memory", memory_peak_bytes=9)
    keep(tmp_path, "counting", cell=OTHER, macs=8)
    found = unfinished.read(tmp_path)
    assert found[CELL.key] == unfinished.Begun(
        environment_id="here", metrics={"macs": 7, "memory_peak_bytes": 9}, phases=("counting", "measuring memory")
    )
    assert unfinished.unrecorded(tmp_path, [CELL.key, "another"]) == 1


def test_what_is_done_anew_in_any_case_is_not_kept(tmp_path: Path) -> None:
    keep(tmp_path, "validating", running_s=1)
    assert not (tmp_path / unfinished.UNFINISHED).exists()


def test_what_was_found_elsewhere_or_is_not_to_be_used_is_left_out(tmp_path: Path) -> None:
    keep(tmp_path, "counting", macs=7)
    keep(tmp_path, "measuring memory", environment_id="there", memory_peak_bytes=9)
    keep(tmp_path, "counting", cell=OTHER, macs=8)
    unfinished.drop(tmp_path, OTHER, "here")
    assert {key: facts.metrics for key, facts in unfinished.read(tmp_path).items()} == {
        CELL.key: {"memory_peak_bytes": 9}
    }


@pytest.mark.parametrize("cut", range(1, 12, 3))
def test_a_line_that_is_cut_short_costs_itself_alone(cut: int, tmp_path: Path) -> None:
    path = tmp_path / unfinished.UNFINISHED
    keep(tmp_path, "counting", macs=7)
    path.write_bytes(path.read_bytes()[:-cut])
    keep(tmp_path, "counting", cell=OTHER, macs=8)
    expected = {OTHER.key} if cut > 1 else {OTHER.key, CELL.key}
    assert unfinished.read(tmp_path).keys() == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [("metrics", {"macs": 8}), ("metrics", 3), ("phase", ["x"]), ("attnbench_version", "0.0.1"), ("more", 1)],
)
def test_what_was_changed_or_written_by_another_version_is_passed_over(
    name: str, value: object, tmp_path: Path
) -> None:
    path = tmp_path / unfinished.UNFINISHED
    keep(tmp_path, "counting", macs=7)
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    assert unfinished.read(tmp_path) == {}


def test_nothing_is_known_where_nothing_is_kept(tmp_path: Path) -> None:
    assert unfinished.read(tmp_path) == {}
    keep(tmp_path, "counting", macs=7)
    unfinished.forget(tmp_path)
    unfinished.forget(tmp_path)
    assert unfinished.read(tmp_path) == {}
