"""What was measured, on disk: ``records.jsonl`` in a folder a run, one line a record, only ever appended to."""

from __future__ import annotations

import fcntl
import json
import os
import time
import warnings
from pathlib import Path
from types import TracebackType
from typing import TextIO

from attnbench.errors import StoreError
from attnbench.record import Record

RECORDS = "records.jsonl"


class TornRecordWarning(UserWarning):
    """The last line of a records file was cut short and has been set aside."""


def read(folder: Path) -> list[Record]:
    """Return the records of a run, the latest of each cell, in the order in which cells first ended.

    Raises:
        StoreError: there are no records, a line is no record, or a later attnbench wrote them.
    """
    path = folder / RECORDS if folder.is_dir() else folder
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; give the folder of a run") from None
    latest: dict[str, Record] = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = Record.from_json(line)
        except ValueError as error:
            if number == len(lines) and not line.endswith("\n"):
                warnings.warn(TornRecordWarning(f"{path}: the last line is cut short and was left out"), stacklevel=2)
                continue
            raise StoreError(f"{path}, line {number}: {_why(error)}") from None
        latest[record.cell.key] = record
    return list(latest.values())


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
            fresh: put the records that are there aside, under another name, and start over.

        Raises:
            StoreError: it cannot be written, another process writes it, or what is in it cannot be read.
        """
        self.folder = folder
        self.path = folder / RECORDS
        try:
            (folder / "samples").mkdir(parents=True, exist_ok=True)
            self._file: TextIO = self._open()
        except OSError as error:
            raise StoreError(f"cannot write {folder}: {error.strerror}; give another folder with --out") from None
        try:
            if fresh:
                self._put_aside()
            self._mend_last_line()
            self._latest = {record.cell.key: record for record in read(self.path)}
        except BaseException:
            self._file.close()
            raise

    @property
    def records(self) -> list[Record]:
        """The latest record of each cell, in the order in which cells first ended."""
        return list(self._latest.values())

    def append(self, record: Record) -> None:
        """Write a record; it is on disk, synced, when this returns."""
        self._file.write(record.to_json() + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._latest[record.cell.key] = record

    def _open(self) -> TextIO:
        file = self.path.open("a", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise StoreError(f"another attnbench is writing {self.folder}; wait for it or give --out") from None
        return file

    def _put_aside(self) -> None:
        if self.path.stat().st_size == 0:
            return
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self.path.rename(self.path.with_name(f"records.{stamp}.jsonl"))
        self._file.close()
        self._file = self._open()

    def _mend_last_line(self) -> None:
        """Move a last line without its end, as a crash leaves it, into a file of its own."""
        content = self.path.read_bytes()
        kept, newline, torn = content.rpartition(b"\n")
        if not torn:
            return
        if _is_whole(torn):
            self._file.write("\n")
            self._file.flush()
            return
        aside = self.path.with_name("records.torn")
        with aside.open("ab") as file:
            file.write(torn + b"\n")
        os.truncate(self.path, len(kept + newline))
        warnings.warn(
            TornRecordWarning(f"{self.path}: the last line was cut short; it is kept in {aside.name}"), stacklevel=3
        )

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _why(error: ValueError) -> str:
    not_json = isinstance(error, json.JSONDecodeError)
    return "not JSON; remove the line or give another folder" if not_json else str(error)
