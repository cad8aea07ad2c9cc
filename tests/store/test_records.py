import json
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench import store
from attnbench.errors import StoreError
from attnbench.record import FORMAT, Cell, Record, Status

CELL = Cell(mechanism="mhsa", height=224, width=224)
RECORD = Record(cell=CELL, status=Status.OK, metrics={"macs": 1})


def write(folder: Path, *records: Record) -> None:
    with store.Store(folder) as kept:
        for record in records:
            kept.append(record)


def test_what_was_appended_is_read_again(tmp_path: Path) -> None:
    other = replace(RECORD, cell=replace(CELL, height=512), status=Status.TIMEOUT, reason="late")
    write(tmp_path / "run", RECORD, other)
    assert store.read(tmp_path / "run") == [RECORD, other]


def test_a_record_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    with store.Store(tmp_path) as kept:
        kept.append(RECORD)
        assert store.read(tmp_path) == [RECORD]


def test_the_latest_record_of_a_cell_counts(tmp_path: Path) -> None:
    again = replace(RECORD, metrics={"macs": 2})
    write(tmp_path, RECORD, again)
    assert store.read(tmp_path) == [again]
    assert len((tmp_path / store.RECORDS).read_text().splitlines()) == 2


def test_a_torn_last_line_is_set_aside_with_a_warning_and_nothing_else_is_lost(tmp_path: Path) -> None:
    write(tmp_path, RECORD)
    torn = RECORD.to_json()[:50]
    with (tmp_path / store.RECORDS).open("a") as file:
        file.write(torn)
    with pytest.warns(store.TornRecordWarning, match="kept in records.torn"):
        write(tmp_path, replace(RECORD, cell=replace(CELL, height=512)))
    assert [record.cell.height for record in store.read(tmp_path)] == [224, 512]
    assert (tmp_path / "records.torn").read_text().strip() == torn


def test_a_torn_last_line_does_not_stop_a_reader(tmp_path: Path) -> None:
    write(tmp_path, RECORD)
    with (tmp_path / store.RECORDS).open("a") as file:
        file.write('{"for')
    with pytest.warns(store.TornRecordWarning):
        assert store.read(tmp_path) == [RECORD]


def test_a_whole_last_line_without_its_newline_is_kept(tmp_path: Path) -> None:
    (tmp_path / store.RECORDS).write_text(RECORD.to_json())
    write(tmp_path, replace(RECORD, cell=replace(CELL, height=512)))
    assert len(store.read(tmp_path)) == 2


def test_records_of_a_newer_version_are_refused_and_left_alone(tmp_path: Path) -> None:
    newer = json.dumps(json.loads(RECORD.to_json()) | {"format": FORMAT + 1}) + "\n"
    (tmp_path / store.RECORDS).write_text(newer)
    with pytest.raises(StoreError, match="line 1: a record of format"):
        store.Store(tmp_path)
    assert (tmp_path / store.RECORDS).read_text() == newer


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    (tmp_path / store.RECORDS).write_text("nonsense\n" + RECORD.to_json() + "\n")
    with pytest.raises(StoreError, match="line 1"):
        store.read(tmp_path)


def test_starting_over_keeps_what_was_there_under_another_name(tmp_path: Path) -> None:
    write(tmp_path, RECORD)
    with store.Store(tmp_path, fresh=True) as kept:
        assert kept.records == []
    (aside,) = tmp_path.glob("records.*Z.jsonl")
    assert Record.from_json(aside.read_text()) == RECORD


def test_two_writers_of_one_folder_are_one_too_many(tmp_path: Path) -> None:
    with store.Store(tmp_path), pytest.raises(StoreError, match="another attnbench"):
        store.Store(tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        store.Store(tmp_path / "file" / "run")


def test_a_folder_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="give the folder of a run"):
        store.read(tmp_path)


def test_records_stand_in_the_same_order_while_a_run_lasts_and_when_it_is_read_again(tmp_path: Path) -> None:
    other, again = replace(RECORD, cell=replace(CELL, height=512)), replace(RECORD, metrics={"macs": 2})
    with store.Store(tmp_path) as kept:
        for record in (RECORD, other, again):
            kept.append(record)
        assert kept.records == store.read(tmp_path) == [again, other]


def test_a_record_is_appended_without_going_through_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digested: list[object] = []
    with store.Store(tmp_path) as kept:
        for height in range(50):
            kept.append(replace(RECORD, cell=replace(CELL, height=height)))
        monkeypatch.setattr("attnbench.record._digest", lambda fields: digested.append(fields) or "key")
        kept.append(RECORD)
    assert len(digested) < 5
