"""The faults that befall a run from outside, a row each: one table for ``tests/faults``.

A run here is the command line's own, with workers that need no torch (``fake_worker``). Hostile plugins have theirs
in ``tests/faults/test_hostile_plugins.py``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from failing_disk import refuse_below
from typed_runs import CELLS

from attnbench import store
from attnbench.errors import StoreError
from attnbench.record import Record, Status
from attnbench.runs import reporting, rows, session
from attnbench.runs.progress import Progress

Act = Callable[["Scene"], None]
DISK_FULL, READ_ONLY, BROKEN, QUOTA, DENIED = (errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT, errno.EACCES)


@dataclass(slots=True)
class Scene:
    """One run, and the means to meddle with it."""

    folder: Path
    """Of the run."""
    patch: pytest.MonkeyPatch
    appended: list[Record] = field(default_factory=list)
    """Rows of which the store has said that they are on disk."""
    held: list[Any] = field(default_factory=list)

    @property
    def records(self) -> Path:
        return self.folder / store.RECORDS

    def watch_rows(self) -> None:
        append = store.Store.append

        def noted(kept: store.Store, record: Record) -> None:
            append(kept, record)
            self.appended.append(record)

        self.patch.setattr(store.Store, "append", noted)

    def after_row(self, number: int, act: Act) -> None:
        append = store.Store.append

        def acting(kept: store.Store, record: Record) -> None:
            append(kept, record)
            if len(self.appended) == number:
                act(self)

        self.patch.setattr(store.Store, "append", acting)

    def in_phase(self, act: Act, *, times: int = 1) -> None:
        """Act while a worker is at a cell."""
        left = [act] * times
        watch = session.Screen.watch

        def acting(screen: session.Screen, progress: Progress) -> None:
            watch(screen, progress)
            if left:
                left.pop()(self)

        self.patch.setattr(session.Screen, "watch", acting)

    def refuse_calls(self, name: str, code: int, *, after: int = 0, some: int = 0) -> None:
        """Have a function of ``os`` fail on the records after so many calls, with some bytes written."""
        usual, count = getattr(os, name), [0]

        def failing(descriptor: int, *arguments: Any) -> Any:
            if not self.records.exists() or not os.path.samestat(os.fstat(descriptor), self.records.stat()):
                return usual(descriptor, *arguments)
            count[0] += 1
            if count[0] <= after:
                return usual(descriptor, *arguments)
            if some:
                usual(descriptor, arguments[0][:some])
            raise OSError(code, os.strerror(code))

        self.patch.setattr(os, name, failing)


def refuse_files(scene: Scene, code: int, *, named: str = "") -> None:
    """Refuse to open files of a run for writing, or those of a name."""
    refuse_below(scene.folder, lambda what, path: code if what == "open" and named in path else None, scene.patch)


def refuse_folders(scene: Scene, code: int) -> None:
    """Refuse to make the folder of a run."""
    refuse_below(scene.folder, lambda what, _: code if what == "os.mkdir" else None, scene.patch)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def children(name: str) -> list[psutil.Process]:
    return [one for one in psutil.Process().children(recursive=True) if name in " ".join(one.cmdline())]


def kill_workers(by: int) -> None:
    for one in children("fake_worker"):
        if "guardian" not in " ".join(one.cmdline()):
            one.send_signal(by)


def kill_guardians(by: int) -> None:
    for one in children("guardian"):
        one.send_signal(by)


def jump(scene: Scene, days: float) -> None:
    """Have the wall clock of the parent wrong by so many days from now on."""
    usual = time.time

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=days)

    scene.patch.setattr(time, "time", lambda: usual() + 86_400 * days)
    scene.patch.setattr(rows, "datetime", Shifted)


def stop_the_clock(scene: Scene) -> None:
    """Have every look at the calendar say the same second."""

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime(2026, 1, 1, tzinfo=UTC)

    scene.patch.setattr(rows, "datetime", Stopped)


def written(name: str, content: bytes) -> Act:
    def inject(scene: Scene) -> None:
        scene.folder.mkdir(parents=True, exist_ok=True)
        (scene.folder / name).write_bytes(content)

    return inject


def in_place_of(name: str, make: Callable[[Path], object] = Path.mkdir) -> Act:
    def inject(scene: Scene) -> None:
        scene.folder.mkdir(parents=True, exist_ok=True)
        make(scene.folder / name)

    return inject


def without(name: str) -> Act:
    return lambda scene: remove(scene.folder / name)


def rows_there(end: str, *, times: int = 1) -> Act:
    """Have the row of the first cell there, so many times."""
    line = Record(cell=CELLS[0], status=Status.OK).to_json() + end
    return written(store.RECORDS, line.encode() * times)


def signalled(number: int) -> Act:
    return lambda _: os.kill(os.getpid(), number)


def stop_and_go_on(_: Scene) -> None:
    """Stop this process, as Ctrl-Z does, and have it go on."""
    here = os.getpid()
    waking = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -CONT {here}"], start_new_session=True)
    os.kill(here, signal.SIGSTOP)
    waking.wait()


def second_command(*, fresh: bool) -> Act:
    """Have another command want the folder, and see it refused."""

    def act(scene: Scene) -> None:
        with pytest.raises(StoreError, match="another attnbench is writing"):
            store.Store(scene.folder, fresh=fresh)

    return act


def remove_scratch(_: Scene) -> None:
    remove(Path(tempfile.gettempdir()))


def remove_working_folder(scene: Scene) -> None:
    folder = scene.folder.with_name("working")
    folder.mkdir()
    scene.held.append(Path.cwd())
    os.chdir(folder)
    scene.after_row(1, lambda _: folder.rmdir())


def locked(scene: Scene) -> None:
    """Hold the folder as another attnbench would."""
    scene.folder.mkdir(parents=True)
    file = scene.records.open("w")
    scene.held.append(file)
    fcntl.flock(file, fcntl.LOCK_EX)


def interrupts(scene: Scene) -> None:
    raise KeyboardInterrupt


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*_: object, **__: object) -> Any:
        raise error

    return call


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done, and what it may end in."""

    inject: Act
    statuses: frozenset[int] = frozenset({0})
    said: str = ""
    """Of what is on the screen or beside it."""
    mend: Act = lambda _: None
    """What somebody would do before the command is given again."""


def _of_the_disk(name: str, code: int) -> dict[str, Fault]:
    stops, told = frozenset({2}), os.strerror(code)
    return {
        f"{name} when the folder is made": Fault(lambda scene: refuse_folders(scene, code), stops, told),
        f"{name} as the first file is opened": Fault(lambda scene: refuse_files(scene, code), stops, told),
        f"{name} at what was asked for": Fault(
            lambda scene: refuse_files(scene, code, named=".tmp"), stops, told
        ),
        f"{name} at a log": Fault(lambda scene: refuse_files(scene, code, named="/logs/"), frozenset({0}), told),
        f"{name} at the report": Fault(
            lambda scene: scene.after_row(4, lambda now: refuse_files(now, code)), stops, told
        ),
    }  # fmt: skip


STOPS, INTERRUPTED = frozenset({2}), frozenset({130})
FULL = os.strerror(DISK_FULL)
KEPT = "of 4 cells are kept"
FAULTS: dict[str, Fault] = {
    **_of_the_disk("the disk is full", DISK_FULL),
    **_of_the_disk("the disk is read-only", READ_ONLY),
    **_of_the_disk("the disk is broken", BROKEN),
    **_of_the_disk("permission is refused", DENIED),
    "the disk is full at the first row": Fault(lambda s: s.refuse_calls("write", DISK_FULL), STOPS, FULL),
    "the disk is full at the third row": Fault(lambda s: s.refuse_calls("write", DISK_FULL, after=2), STOPS, KEPT),
    "the disk is full in the middle of a row": Fault(
        lambda s: s.refuse_calls("write", DISK_FULL, after=1, some=40), STOPS, KEPT
    ),
    "a quota ends at a row": Fault(lambda s: s.refuse_calls("write", QUOTA, after=1), STOPS, KEPT),
    "a row does not reach the disk": Fault(lambda s: s.refuse_calls("fsync", BROKEN, after=1), STOPS, KEPT),
    "the disk is full at what is known of a cell": Fault(
        lambda scene: refuse_files(scene, DISK_FULL, named="unfinished")
    ),
    "the disk is full at the plots": Fault(
        lambda s: s.after_row(4, lambda now: refuse_files(now, DISK_FULL, named="/plots/")), STOPS, FULL
    ),
    "the temporary folder is full": Fault(
        lambda scene: refuse_below(Path(tempfile.gettempdir()), lambda *_: DISK_FULL, scene.patch), STOPS, "TMPDIR"
    ),
    "the temporary folder is removed": Fault(
        lambda s: s.in_phase(remove_scratch), STOPS, mend=lambda scene: scene.folder.with_name("scratch").mkdir()
    ),
    "the folder is removed": Fault(lambda s: s.after_row(1, lambda now: remove(now.folder)), frozenset({0, 2})),
    "the folder is moved away and back": Fault(
        lambda s: s.after_row(1, lambda now: now.folder.rename(now.folder.with_name("elsewhere"))), frozenset({0, 2})
    ),
    "the records are removed": Fault(lambda s: s.after_row(1, lambda now: remove(now.records)), said="was removed"),
    "the records are replaced by an empty file": Fault(
        lambda s: s.after_row(2, lambda now: (remove(now.records), now.records.touch())[0]), said="was removed"
    ),
    "the logs are removed": Fault(lambda s: s.after_row(1, lambda now: remove(now.folder / "logs"))),
    "the samples are removed": Fault(lambda s: s.after_row(1, lambda now: remove(now.folder / "samples"))),
    "the logs are a file": Fault(
        written("logs", b""), STOPS, "File exists", mend=lambda scene: remove(scene.folder / "logs")
    ),
    "the samples are a file": Fault(written("samples", b""), STOPS, "File exists", mend=without("samples")),
    "the plots are a file": Fault(written("plots", b""), STOPS, "File exists", mend=without("plots")),
    "the page is a folder": Fault(in_place_of("report.md"), STOPS, "report.md", mend=without("report.md")),
    "the table is a folder": Fault(in_place_of("records.csv"), STOPS, "records.csv", mend=without("records.csv")),
    "what was asked for is a folder": Fault(in_place_of("asked.json"), said="begun anew"),
    "what is known of cells is torn": Fault(written("unfinished.jsonl", b'{"cell_key": "a')),
    "what is known of cells is a folder": Fault(in_place_of("unfinished.jsonl")),
    "the working folder is removed": Fault(remove_working_folder, mend=lambda scene: os.chdir(scene.held.pop())),
    "the folder is a file": Fault(
        lambda scene: scene.folder.write_bytes(b""), STOPS, "is a file", mend=lambda scene: remove(scene.folder)
    ),
    "the records are a pipe": Fault(
        in_place_of(store.RECORDS, os.mkfifo), STOPS, "is no file", mend=lambda scene: remove(scene.records)
    ),
    "the records are a folder": Fault(
        in_place_of(store.RECORDS), STOPS, "Is a directory", mend=lambda scene: remove(scene.records)
    ),
    "the records are a link to nowhere": Fault(
        in_place_of(store.RECORDS, lambda path: path.symlink_to("elsewhere.jsonl"))
    ),
    "the records end in half a line": Fault(written(store.RECORDS, b'{"format": 3, "cel'), said="cut short"),
    "the records hold zeros, as after a power cut": Fault(written(store.RECORDS, bytes(512) + b"\n")),
    "the records begin with a mark of an editor": Fault(written(store.RECORDS, b"\xef\xbb\xbf\n\n")),
    "the records hold something else": Fault(
        written(store.RECORDS, b"<<<<<<< HEAD\n"), STOPS, "line 1", mend=lambda scene: remove(scene.records)
    ),
    "the records hold what is no text": Fault(
        written(store.RECORDS, b"\xff\xfe\x00\n"), STOPS, "line 1", mend=without(store.RECORDS)
    ),
    "the records have lines of another system": Fault(rows_there("\r\n")),
    "the records have a row twice": Fault(rows_there("\n", times=2)),
    "the records do not end in a line": Fault(rows_there("")),
    "the records are of a later attnbench": Fault(
        written(store.RECORDS, b'{"format": 999}\n'), STOPS, "line 1", mend=lambda scene: remove(scene.records)
    ),
    "what was asked for is torn": Fault(written("asked.json", b'{"by_command": {"a'), said="begun anew"),
    "what was asked for is of a later attnbench": Fault(
        written("asked.json", b'{"by_command": {}, "x": 1}'), said="begun anew"
    ),
    "the machine's limits are torn": Fault(written("limits.json", b'{"a": {"fl')),
    "another attnbench writes the folder": Fault(
        locked, STOPS, "another attnbench is writing", mend=lambda scene: scene.held.pop().close()
    ),
    "a second command wants the folder": Fault(lambda s: s.in_phase(second_command(fresh=False))),
    "a second command wants the folder afresh": Fault(lambda s: s.after_row(2, second_command(fresh=True))),
    "the clock goes back an hour": Fault(lambda s: s.after_row(1, lambda now: jump(now, -1 / 24))),
    "the clock goes forward a year": Fault(lambda s: s.after_row(1, lambda now: jump(now, 365))),
    "the clock goes back to 1970": Fault(lambda s: s.in_phase(lambda now: jump(now, -20_000))),
    "the clock stands still": Fault(stop_the_clock),
    "a worker is killed": Fault(lambda s: s.in_phase(lambda _: kill_workers(signal.SIGKILL))),
    "a worker is told to end": Fault(lambda s: s.in_phase(lambda _: kill_workers(signal.SIGTERM))),
    "a worker is stopped for a moment": Fault(
        lambda s: s.in_phase(lambda _: (kill_workers(signal.SIGSTOP), kill_workers(signal.SIGCONT))[0])
    ),
    "a guardian is killed": Fault(lambda s: s.in_phase(lambda _: kill_guardians(signal.SIGKILL))),
    "the command is stopped for a moment": Fault(lambda s: s.in_phase(stop_and_go_on)),
    "the command is told to end while measuring": Fault(
        lambda s: s.in_phase(signalled(signal.SIGTERM)), INTERRUPTED, KEPT
    ),
    "the command is told to end between rows": Fault(
        lambda s: s.after_row(2, signalled(signal.SIGTERM)), INTERRUPTED, KEPT
    ),
    "the terminal is closed while measuring": Fault(
        lambda s: s.in_phase(signalled(signal.SIGHUP)), INTERRUPTED, KEPT
    ),
    "the terminal is closed between rows": Fault(
        lambda s: s.after_row(1, signalled(signal.SIGHUP)), INTERRUPTED, KEPT
    ),
    "an interruption while measuring": Fault(lambda s: s.in_phase(interrupts), INTERRUPTED, KEPT),
    "an interruption between rows": Fault(lambda s: s.after_row(2, interrupts), INTERRUPTED, KEPT),
    "an interruption while the report is written": Fault(
        lambda s: s.patch.setattr(reporting.report_folder, "write", raising(KeyboardInterrupt())), STOPS, "makes it"
    ),
    "one file of the report fails": Fault(
        lambda s: s.patch.setattr("attnbench.report.folder.write_csv", raising(MemoryError())), STOPS, "records.csv"
    ),
    "no folder for temporary files": Fault(
        lambda s: s.patch.setattr(tempfile, "tempdir", "/no/such/folder"), STOPS, "TMPDIR"
    ),
    "memory runs out at a row": Fault(
        lambda s: s.after_row(2, raising(MemoryError())), STOPS, "memory ran out"
    ),
    "memory runs out while measuring": Fault(lambda s: s.in_phase(raising(MemoryError())), STOPS, "memory ran out"),
    "memory runs out before anything is measured": Fault(
        lambda s: s.patch.setattr(session.asked, "keep", raising(MemoryError())), STOPS, "memory ran out"
    ),
    "no thread can be started": Fault(
        lambda s: s.patch.setattr("threading.Thread.start", raising(RuntimeError("can't start new thread"))),
        STOPS,
        "allows no thread more",
    ),
    "no process can be started": Fault(
        lambda s: s.patch.setattr("subprocess.Popen", raising(BlockingIOError(errno.EAGAIN, "no more"))), STOPS
    ),
    "no descriptor is left": Fault(
        lambda s: s.patch.setattr("attnbench.child.ear.socket.socketpair", raising(OSError(errno.EMFILE, "Too many"))),
        STOPS,
    ),
}  # fmt: skip
