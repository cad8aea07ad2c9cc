"""Folders on file systems without locks: one writer at a time all the same, and said."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from attnbench import files, store
from attnbench.errors import StoreError
from attnbench.record import Cell, Record, Status
from attnbench.store import lease

RECORD = Record(cell=Cell(mechanism="mhsa", height=224, width=224), status=Status.OK)


@pytest.fixture(params=["ENOSYS", "ENOTSUP", "ENOLCK"])
def without_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder lies where files cannot be locked, by what such file systems say."""
    code = getattr(errno, request.param)

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("without_locks")
def test_it_is_said_and_done_without_locks(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"without locks \(flock: .+\); a file that is renewed, writing.lease"):
        kept = store.Store(tmp_path)
    with kept:
        kept.append(RECORD)
        with pytest.raises(StoreError, match=f"another attnbench is writing .*: process {os.getpid()} on"):
            store.Store(tmp_path)
    assert store.read(tmp_path) == [RECORD]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", store.RECORDS, "samples"]


def test_a_lock_that_another_has_is_no_missing_lock(tmp_path: Path) -> None:
    with store.Store(tmp_path), warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(StoreError, match="another attnbench is writing"):
            store.Store(tmp_path)
    assert not (tmp_path / lease.LEASE).exists()


def left_by(folder: Path, **who: object) -> None:
    """A lease that its writer did not release."""
    host, processes = lease._here()
    writer = lease.Writer(token="0", pid=os.getpid(), host=host, processes=processes)
    (folder / lease.LEASE).write_text(json.dumps(asdict(replace(writer, **who))))


def test_the_lease_of_a_process_that_is_gone_is_taken_over(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    left_by(tmp_path, pid=int(ended.stdout))
    lease.Lease(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("who", [{}, {"host": "elsewhere"}, {"processes": "of a container"}])
def test_a_lease_is_over_when_its_writer_was_silent_by_the_file_systems_own_clock(
    tmp_path: Path, who: dict[str, object]
) -> None:
    left_by(tmp_path, **who)
    with pytest.raises(StoreError, match=r"its lease ends in \d+ s"):
        lease.Lease(tmp_path)
    for hours in (-1, 1):  # silent, or left behind by a clock that was set back
        left_by(tmp_path, **who)
        at = (tmp_path / lease.LEASE).stat().st_mtime + 3600 * hours
        os.utime(tmp_path / lease.LEASE, (at, at))
        with pytest.warns(UserWarning, match="watching for 0 s whether it is"):
            lease.Lease(tmp_path, watch_s=0.05).release()


@pytest.mark.filterwarnings("ignore:.*was not renewed of late")
@pytest.mark.parametrize("jump_s", [121.0, 86400.0, -86400.0])
def test_a_clock_that_jumps_takes_a_lease_from_nobody_who_renews_it(
    tmp_path: Path, jump_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = lease.Lease(tmp_path, beat_s=0.01)
    monkeypatch.setattr(lease, "_silent_s", lambda _: jump_s)
    with pytest.raises(StoreError, match=f"another attnbench is writing .*: process {os.getpid()} on"):
        lease.Lease(tmp_path, watch_s=60)
    kept.check()
    kept.release()


@pytest.mark.usefixtures("without_locks")
@pytest.mark.filterwarnings("ignore:.*without locks")
def test_a_writer_that_was_held_up_too_long_writes_no_more(tmp_path: Path) -> None:
    with store.Store(tmp_path) as kept:
        left_by(tmp_path, token="of another")
        with pytest.raises(StoreError, match=r"has taken .* over"):
            kept.append(RECORD)
    assert (tmp_path / lease.LEASE).exists()  # it is the other's
    assert store.read(tmp_path) == []


def test_it_is_renewed(tmp_path: Path) -> None:
    kept = lease.Lease(tmp_path, beat_s=0.01)
    os.utime(tmp_path / lease.LEASE, (0, 0))
    for _ in range(1000):
        if (tmp_path / lease.LEASE).stat().st_mtime > 0:
            break
        kept._over.wait(0.01)
    kept.release()
    assert not (tmp_path / lease.LEASE).exists()


def test_where_there_are_no_links_it_is_made_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    kept = lease.Lease(tmp_path)
    with pytest.raises(StoreError, match="another attnbench"):
        lease.Lease(tmp_path)
    kept.release()


def test_folders_that_cannot_be_synced_are_not_why_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    files.sync_folder(tmp_path)
