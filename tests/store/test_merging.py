"""One folder of several runs: nothing is lost, what was measured twice counts once, and no link is followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from attnbench import store
from attnbench.errors import StoreError, UsageError
from attnbench.record import Cell, Record, Status
from attnbench.store import asked, merging, parts

CELLS = tuple(Cell(mechanism=name, height=64, width=64) for name in ("a", "b", "c"))


def row(cell: Cell, environment: str, *, status: Status = Status.OK, kind: str = "", run_id: str = "") -> Record:
    known = {"environment_id": environment, "hardware": environment} if environment else {}
    return Record(cell=cell, status=status, environment=known, run_id=run_id, kind=kind)


def run_of(folder: Path, *rows: Record) -> Path:
    with store.Store(folder) as kept:
        for each in rows:
            kept.append(each)
            (folder / "samples" / f"{each.cell.key}.npz").write_text(f"{folder.name} {each.cell.mechanism}")
    asked.keep(
        folder, command=f"attnbench run --out {folder.name}", cells={r.cell.key: "words" for r in rows}, fresh=False
    )
    (folder / "report.md").write_text("of one run")
    return folder


def test_rows_of_other_environments_are_told_apart_and_those_of_one_count_once(tmp_path: Path) -> None:
    one = run_of(
        tmp_path / "one", row(CELLS[0], "x", run_id="1"), row(CELLS[1], "x", status=Status.TIMEOUT, run_id="1")
    )
    two = run_of(tmp_path / "two", row(CELLS[0], "x", run_id="2"), row(CELLS[1], "x", run_id="2"))
    far = run_of(tmp_path / "far", row(CELLS[0], "y", run_id="3"), row(CELLS[2], "y", run_id="3"))
    found = merging.merge([one, two, far], tmp_path / "all")
    assert (found.rows, found.repeated, found.environments, found.left_out) == (4, 2, 2, ())
    counting = {
        (each.cell.mechanism, each.environment["environment_id"]): each.run_id for each in store.read(tmp_path / "all")
    }
    assert counting == {("a", "x"): "1", ("b", "x"): "2", ("a", "y"): "3", ("c", "y"): "3"}


def test_nothing_is_lost_and_samples_lie_beside_their_rows(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / name / "run", row(CELLS[0], name)) for name in ("x", "y")]
    merging.merge(runs, tmp_path / "all")
    for each in store.placed(tmp_path / "all"):
        samples = each.folder / "samples" / f"{each.record.cell.key}.npz"
        assert samples.read_text() == "run a"
        assert parts.source(each.folder) in {"run", "run-2"}
        assert not (each.folder / "report.md").exists()
    assert len(asked.read(tmp_path / "all").cells) == 1
    assert [path.name for path in tmp_path.iterdir() if "merging" in path.name] == []


def test_merged_runs_are_merged_again_with_all_their_parts(tmp_path: Path) -> None:
    for name in ("x", "y", "z"):
        run_of(tmp_path / name, row(CELLS[0], name))
    merging.merge([tmp_path / "x", tmp_path / "y"], tmp_path / "xy")
    assert merging.merge([tmp_path / "xy", tmp_path / "z"], tmp_path / "xyz").rows == 3
    assert {parts.source(part) for part in parts.of(tmp_path / "xyz")} == {"xy/x", "xy/y", "z"}


def test_a_folder_that_is_there_is_not_written_and_a_run_that_cannot_be_read_leaves_nothing(tmp_path: Path) -> None:
    one = run_of(tmp_path / "one", row(CELLS[0], "x"))
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="given twice"):
        merging.merge([one, tmp_path / "one"], tmp_path / "all")
    with pytest.raises(UsageError, match="there already"):
        merging.merge([one], one)
    with pytest.raises(StoreError, match="cannot read"):
        merging.merge([one, tmp_path / "none"], tmp_path / "all")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none", "one"]


def test_a_link_in_a_run_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of somebody else")
    one = run_of(tmp_path / "one", row(CELLS[0], "x"))
    (one / "samples" / "more.npz").symlink_to(tmp_path / "secret")
    os.mkfifo(one / "pipe")
    found = merging.merge([one], tmp_path / "all")
    assert sorted(Path(each).name for each in found.left_out) == ["more.npz", "pipe"]
    assert not any(path.name == "more.npz" for path in (tmp_path / "all").rglob("*"))
