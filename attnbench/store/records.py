"""What was measured, on disk: ``records.jsonl`` in a folder a run, one line a record, only ever appended to."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from attnbench import files
from attnbench.errors import StoreError
from attnbench.reading import MisreadError, from_json
from attnbench.record import Record, Status, Unit
from attnbench.store import parts
from attnbench.store.lease import Lease, held

RECORDS = parts.RECORDS
_BLANK = " \t\r\n\f\v\0\ufeff"
"""Of a line without a record: some editors begin a file with a mark, and a power cut leaves zeros."""


class TornRecordWarning(UserWarning):
    """The last line of a records file was cut short and has been set aside."""


class LostRecordsWarning(UserWarning):
    """The records file was removed while it was written, and has been written anew."""


def read(folder: Path) -> list[Record]:
    """Return the records of a run, the one that counts of each cell and kind of hardware; see ``placed``.

    Raises:
        StoreError: there are no records, a line is no record, or a later attnbench wrote them.
    """
    return [each.record for each in placed(folder)]


def placed(folder: Path) -> list[PlacedRecord]:
    """Return the records of a run with where they lie, in the order in which cells first ended.

    Of several rows of a cell on a kind of hardware one counts. In one file that is the last. Of several files, as
    workers on several machines leave them where a group had changed hands, it is one that ended ok before one that did
    not, and that before one that says that no machine was there; of those that did not one of the last retry, and
    otherwise the first, the folder's own file before those of workers in the order of their names: whoever reads comes
    to the same, by no clock. Rows of runs that were merged stay apart where their environments differ.

    Raises:
        StoreError: there are no records, a line is no record, or a later attnbench wrote them.
    """
    found = parts.of(folder)
    if not found or found == [folder]:
        return [PlacedRecord(record=each, folder=folder) for each in _read_file(folder)]
    counting: dict[tuple[str, Unit], PlacedRecord] = {}
    retries = {part: parts.retry(part) for part in found}
    for part in found:
        source = parts.source(part)
        for record in _read_file(part):
            _count(counting, (source, record.unit), PlacedRecord(record=record, folder=part), retries)
    apart: dict[tuple[Unit, object], PlacedRecord] = {}
    for (_, unit), each in counting.items():  # of merged runs: of one cell in one environment a single row
        _count(apart, (unit, each.record.environment.get("environment_id")), each, retries)
    return list(apart.values())


_Key = TypeVar("_Key")


def _count(counting: dict[_Key, PlacedRecord], key: _Key, found: PlacedRecord, retries: Mapping[Path, int]) -> None:
    """Have a row count in place of the one that is there, if it goes before that."""

    def rank(one: PlacedRecord) -> tuple[int, int]:
        ok = one.record.status is Status.OK
        return one.record.status.precedence, 0 if ok else retries[one.folder]

    if key not in counting or rank(found) > rank(counting[key]):
        counting[key] = found


def _read_file(folder: Path) -> list[Record]:
    """Return the latest record of each unit in one file, given by itself or by its folder."""
    try:
        path = folder / RECORDS if folder.is_dir() else folder
        lines = files.text_of(path, errors="replace").split("\n")
    except OSError as error:
        raise StoreError(f"cannot read {folder}: {files.reason_of(error)}; give the folder of a run") from None
    except MisreadError as error:
        raise StoreError(f"{error}; give the folder of a run") from None
    latest: dict[Unit, Record] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip(_BLANK):
            continue
        try:
            record = Record.from_json(line.strip(_BLANK))
        except MisreadError as error:
            if number == len(lines) and not _is_whole(line):
                warnings.warn(TornRecordWarning(f"{path}: the last line is cut short and was left out"), stacklevel=4)
                continue
            said = str(error).removeprefix("line 1: ")
            raise StoreError(f"{path}, line {number}: {said}; remove the line or give another folder") from None
        latest[record.unit] = record
    return list(latest.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedRecord:
    """A record and the folder that its file, samples and limits lie in.

    Example:
        >>> from attnbench.record import Cell, Status
        >>> record = Record(cell=Cell(mechanism="mhsa", height=224, width=224), status=Status.OK)
        >>> PlacedRecord(record=record, folder=Path("results/x")).record.status.value
        'ok'
    """

    record: Record
    folder: Path


class Store:
    """A run's folder, open for appending by one process at a time. Use it as a context manager.

    Example:
        >>> from tempfile import mkdtemp
        >>> from attnbench.record import Cell, Status
        >>> folder = Path(mkdtemp())
        >>> with Store(folder) as store:
        ...     store.append(Record(cell=Cell(mechanism="qna", height=224, width=224), status=Status.OK))
        >>> [record.status.value for record in read(folder)]
        ['ok']
    """

    def __init__(self, folder: Path, *, fresh: bool = False) -> None:
        """Open the folder, making it if need be.

        Args:
            folder: where the run is kept.
            fresh: put the records, samples and checkpoints that are there aside, under other names, and start over.

        Raises:
            StoreError: it cannot be written, another process writes it, or what is in it cannot be read.
        """
        self.folder = folder
        self.path = folder / RECORDS
        self._lease: Lease | None = None
        try:
            self._file = self._open()
        except (OSError, ValueError) as error:
            said = files.reason_of(error)
            raise StoreError(f"cannot write {folder}: {said}; give another folder with --out") from None
        try:
            if fresh:
                self._put_aside()
            self._mend_last_line()
            self._latest = {record.unit: record for record in _read_file(self.path)}
        except OSError as error:
            self._close()
            said = files.reason_of(error)
            raise StoreError(f"cannot write {folder}: {said}; what is in it is as it was") from None
        except BaseException:
            self._close()
            raise

    @property
    def records(self) -> list[Record]:
        """The latest record of each cell, in the order in which cells first ended."""
        return list(self._latest.values())

    def append(self, record: Record) -> None:
        """Write a record; it is on disk, synced, when this returns.

        Raises:
            StoreError: it cannot be written; those before it are there still.
        """
        if self._lease:
            self._lease.check()
        try:
            if not self._is_in_place():
                self._write_anew()
            self._write(record)
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {files.reason_of(error)}") from None
        self._latest[record.unit] = record

    def _open(self) -> int:
        for name in ("samples", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        opened = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise StoreError(f"{self.path} is no file; remove it or give another folder with --out")
            if not self._lease:
                lock = partial(fcntl.flock, opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._lease = held(self.folder, lock, said=partial(warnings.warn, stacklevel=5))
            files.sync_folder(self.folder)
        except BlockingIOError:
            os.close(opened)
            raise StoreError(f"another attnbench is writing {self.folder}; wait for it or give --out") from None
        except BaseException:
            os.close(opened)
            raise
        return opened

    def _write(self, record: Record) -> None:
        """Append a line, whole or not at all."""
        line = f"{record.to_json()}\n".encode()
        before = os.fstat(self._file).st_size
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, before)
            raise

    def _is_in_place(self) -> bool:
        """Whether what is written goes to the file of the name, which somebody may have removed meanwhile."""
        try:
            return os.path.samestat(os.fstat(self._file), self.path.stat())
        except FileNotFoundError:
            return False

    def _write_anew(self) -> None:
        """Write what is known to a file of the name again."""
        anew = self._open()
        os.close(self._file)
        self._file = anew
        there = {record.unit: record for record in _read_file(self.path)}
        lost = [record for key, record in self._latest.items() if there.get(key) != record]
        for record in lost:
            self._write(record)
        said = f"{self.path} was removed meanwhile; its {len(lost)} rows are written again"
        warnings.warn(LostRecordsWarning(said), stacklevel=4)

    def _put_aside(self) -> None:
        """Give records, samples and checkpoints names of their own, the same for all."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        folders = [each for each in (self.folder / "samples", self.folder / "checkpoints") if each.is_dir()]
        if self.path.stat().st_size == 0 and not any(any(each.iterdir()) for each in folders):
            return
        taken = [each.name for each in folders]
        aside = files.set_aside(
            self.path, stamp, but=lambda mark: any((self.folder / f"{name}.{mark}").exists() for name in taken)
        )
        for each in folders:
            each.rename(self.folder / f"{each.name}.{aside.name.split('.')[1]}")
        os.close(self._file)
        self._file = self._open()

    def _mend_last_line(self) -> None:
        """Move a last line without its end, as a crash leaves it, into a file of its own."""
        content = files.bytes_of(self.path)
        kept, newline, torn = content.rpartition(b"\n")
        if not torn.strip(_BLANK.encode()):
            return
        if _is_whole(torn.decode("utf-8", "replace")):
            os.write(self._file, b"\n")
            return
        aside = self.path.with_name("records.torn")
        with aside.open("ab") as file:
            file.write(torn + b"\n")
        os.ftruncate(self._file, len(kept + newline))
        warnings.warn(
            TornRecordWarning(f"{self.path}: the last line was cut short; it is kept in {aside.name}"), stacklevel=3
        )

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        try:
            os.close(self._file)
        finally:
            if self._lease:
                self._lease.release()


def _is_whole(line: str) -> bool:
    try:
        return isinstance(from_json(line.strip(_BLANK)), dict)
    except MisreadError:
        return False
