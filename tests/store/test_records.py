import errno
import json
import os
import shutil
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


def test_a_mark_of_an_editor_blank_lines_and_zeros_of_a_power_cut_are_no_records(tmp_path: Path) -> None:
    write(tmp_path, RECORD)
    path = tmp_path / store.RECORDS
    line = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n  \n" + bytes(512) + b"\n" + bytes(64))
    assert store.read(tmp_path) == [RECORD]
    other = replace(RECORD, cell=replace(CELL, height=512))
    write(tmp_path, other)
    assert store.read(tmp_path) == [RECORD, other]


@pytest.mark.parametrize("line", ["[" * 100_000, '{"format": true}', '{"format": 2, "cell": {"height": 1' + "0" * 5000])
def test_whatever_a_line_holds_it_is_a_record_or_named(line: str, tmp_path: Path) -> None:
    (tmp_path / store.RECORDS).write_text(f"\n{line}\n")
    with pytest.raises(StoreError, match=r"records\.jsonl, line 2: .*; remove the line or give another folder"):
        store.read(tmp_path)


def test_starting_over_twice_in_a_second_keeps_both_with_their_samples(tmp_path: Path) -> None:
    for turn in range(3):
        with store.Store(tmp_path, fresh=True) as kept:
            kept.append(replace(RECORD, metrics={"macs": turn}))
            (tmp_path / "samples" / f"{CELL.key}.npz").write_text(str(turn))
    asides = sorted(tmp_path.glob("records.*Z*.jsonl"))
    assert sorted(store.read(path)[0].metrics["macs"] for path in asides) == [0, 1]
    for path in asides:
        of_the_same = tmp_path / path.stem.replace("records", "samples") / f"{CELL.key}.npz"
        assert of_the_same.read_text() == str(store.read(path)[0].metrics["macs"])
    assert store.read(tmp_path)[0].metrics["macs"] == 2


OTHERS = [replace(RECORD, cell=replace(CELL, height=32 * side)) for side in range(1, 5)]


@pytest.mark.parametrize("whole_folder", [False, True])
def test_what_is_removed_while_it_is_written_is_written_again(whole_folder: bool, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with store.Store(run) as kept:
        for record in OTHERS[:2]:
            kept.append(record)
        shutil.rmtree(run) if whole_folder else (run / store.RECORDS).unlink()
        with pytest.warns(store.LostRecordsWarning, match="was removed meanwhile; its 2 rows are written again"):
            kept.append(OTHERS[2])
        kept.append(OTHERS[3])
    assert store.read(run) == OTHERS


def test_a_file_that_took_the_place_of_the_records_loses_nothing_and_gains_them(tmp_path: Path) -> None:
    with store.Store(tmp_path / "other") as other:
        other.append(OTHERS[3])
    with store.Store(tmp_path) as kept:
        kept.append(OTHERS[0])
        (tmp_path / "other" / store.RECORDS).replace(tmp_path / store.RECORDS)
        with pytest.warns(store.LostRecordsWarning):
            kept.append(OTHERS[1])
    assert {record.cell.height for record in store.read(tmp_path)} == {32, 64, 128}


@pytest.mark.parametrize("place", range(0, 2400, 111))
def test_a_disk_that_is_full_in_the_middle_of_a_row_costs_that_row_alone(
    place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk takes so many more bytes, and part of a write where there is room for a part."""
    room = place

    def write(descriptor: int, content: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = min(room, len(content))
        room -= taken
        return wrote(descriptor, content[:taken])

    wrote = os.write
    with store.Store(tmp_path) as run:
        monkeypatch.setattr("attnbench.store.records.os.write", write)
        kept, said = [], []
        for record in OTHERS:
            try:
                run.append(record)
                kept.append(record)
            except StoreError as error:
                said.append(str(error))
        assert run.records == kept
    assert said == [f"cannot write {tmp_path / store.RECORDS}: No space left on device"] * (len(OTHERS) - len(kept))
    assert said
    monkeypatch.undo()
    assert store.read(tmp_path) == kept
    with store.Store(tmp_path) as run:
        run.append(OTHERS[-1])
    assert store.read(tmp_path) == [*(record for record in kept if record is not OTHERS[-1]), OTHERS[-1]]


@pytest.mark.parametrize("name", [store.RECORDS, "logs", "samples"])
def test_what_is_no_file_or_no_folder_where_one_is_needed_is_a_line(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(StoreError, match=rf"{name} is no file|cannot write .*: File exists"):
        store.Store(tmp_path)
    if name == store.RECORDS:
        with pytest.raises(StoreError, match="is no file; give the folder of a run"):
            store.read(tmp_path)


@pytest.mark.parametrize("name", ["a" * 300, "nul\0"])
def test_a_name_that_no_file_can_have_is_a_line(name: str, tmp_path: Path) -> None:
    for use in (store.read, store.Store):
        with pytest.raises(StoreError, match=r"File name too long|null (byte|character)"):
            use(tmp_path / name)


def test_what_trainings_had_come_to_is_put_aside_with_the_rows_or_without_any(tmp_path: Path) -> None:
    for _ in range(2):
        (tmp_path / "checkpoints" / "cell").mkdir(parents=True)
        with store.Store(tmp_path, fresh=True):
            assert not (tmp_path / "checkpoints").exists()
    assert len(list(tmp_path.glob("checkpoints.*Z*/cell"))) == 2
