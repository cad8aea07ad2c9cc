"""A disk that fails wherever a run writes: no row is lost, a line says it, and the same command completes the run."""

from __future__ import annotations

import errno
import itertools
import tempfile
from pathlib import Path

import pytest
from failing_disk import failing, small_disk
from typed_runs import Ended, cells_of, completed, rows_of, typed, well_said

from attnbench import store
from attnbench.record import Record

CELLS = cells_of("a", "b", sides=(32,))
PAGE = 4096
SIZES = [pages * PAGE for pages in (1, 2, 3, 4, 5, 6, 8, 10, 16, 32, 64, 160, 256)]
FILES = [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20]


@pytest.fixture(autouse=True)
def _scratch_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))


@pytest.fixture
def acknowledged(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """Rows of which the store has said that they are on disk."""
    said: list[Record] = []
    append = store.Store.append

    def noted(kept: store.Store, record: Record) -> None:
        append(kept, record)
        said.append(record)

    monkeypatch.setattr(store.Store, "append", noted)
    return said


def went_well(ended: Ended, folder: Path, acknowledged: list[Record]) -> None:
    """Assert what holds of a run whose disk has failed, and complete it."""
    well_said(ended)
    assert ended.status in {0, 2}, ended.said
    before = list(acknowledged)
    there = rows_of(folder)
    assert all(there[record.cell.key] == record for record in before), ended.said
    rows = completed(folder, cells=CELLS)
    assert all(rows[record.cell.key] == record for record in before)  # not measured again
    acknowledged.clear()


def failed_at_every_step(
    within: Path, acknowledged: list[Record], *, code: int, lasting: bool, options: tuple[str, ...] = ()
) -> int:
    """Type a command once for each step that it takes on disk, which fails, and return how many those are."""
    for step in itertools.count(1):
        folder = within / f"run{step}"
        if options:
            typed(folder, cells=CELLS)
            acknowledged.clear()
            before = rows_of(folder)
        with failing(folder, code, at=step, lasting=lasting) as steps:
            ended = typed(folder, *options, cells=CELLS)
        if not steps.refused:
            return step - 1
        if options:
            aside = [rows_of_file(path) for path in folder.glob("records*.jsonl")]
            assert any(before.items() <= rows.items() for rows in aside), (steps.refused, ended.said)
        went_well(ended, folder, acknowledged)
    raise AssertionError("no end of steps")


def rows_of_file(path: Path) -> dict[str, Record]:
    return {record.cell.key: record for record in store.read(path)}


@pytest.mark.slow
@pytest.mark.parametrize("lasting", [True, False], ids=["from there on", "once"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_may_fail_at_every_single_step(
    tmp_path: Path, acknowledged: list[Record], code: int, lasting: bool
) -> None:
    assert failed_at_every_step(tmp_path, acknowledged, code=code, lasting=lasting) > 20


@pytest.mark.slow
def test_a_disk_may_fail_at_every_step_of_a_fresh_start(tmp_path: Path, acknowledged: list[Record]) -> None:
    how = {"code": errno.ENOSPC, "lasting": True, "options": ("--fresh",)}
    assert failed_at_every_step(tmp_path, acknowledged, **how) > 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "value"),
    [*(("size", size) for size in SIZES), *(("nr_inodes", files) for files in FILES)],
)
def test_a_disk_may_be_full_in_truth(tmp_path: Path, acknowledged: list[Record], limit: str, value: int) -> None:
    folder = tmp_path / "run"
    with small_disk(folder, **{"size": 2**30, "nr_inodes": 10_000, limit: value}) as limited:
        ended = typed(folder, cells=CELLS)
        limited(size=2**30, nr_inodes=10_000)
        went_well(ended, folder, acknowledged)
