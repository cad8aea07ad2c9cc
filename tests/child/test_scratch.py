"""Folders for what is said between processes do not pile up, however their processes end."""

import errno
import fcntl
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from attnbench.child import scratch as module
from attnbench.child.scratch import scratch
from attnbench.errors import StoreError

HOLDS = """
import time
from attnbench.child.scratch import scratch
with scratch() as folder:
    (folder / "content").write_text("x")
    print(folder, flush=True)
    time.sleep(3600)
"""


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    module._sweep.cache_clear()
    yield
    module._sweep.cache_clear()


def test_a_folder_is_private_and_gone_after_the_block() -> None:
    with scratch() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.stat().st_uid == os.getuid()
    assert not folder.exists()


def test_folders_of_the_killed_are_removed_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    others = [subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    killed, alive = (Path(other.stdout.readline().strip()) for other in others)
    assert killed.parent == alive.parent == tmp_path
    others[0].send_signal(signal.SIGKILL)
    others[0].wait()
    try:
        with scratch() as mine:
            assert {path.name for path in tmp_path.iterdir()} == {alive.name, mine.name}
    finally:
        others[1].kill()
        for other in others:
            other.wait()
            other.stdout.close()


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".owned").touch()
    (tmp_path / "attnbench-link").symlink_to(elsewhere)
    (tmp_path / "attnbench-file").touch()
    (tmp_path / "attnbench-of-a-user").mkdir()
    with scratch():
        pass
    assert (elsewhere / ".owned").exists()
    assert {path.name for path in tmp_path.iterdir()} == {
        "elsewhere",
        "attnbench-link",
        "attnbench-file",
        "attnbench-of-a-user",
    }


@pytest.mark.parametrize("held", [True, False], ids=["alive", "killed"])
@pytest.mark.parametrize("name", [".owned", ".owned.new"])
def test_a_folder_lives_as_long_as_its_lock_whatever_the_clock_says(tmp_path: Path, name: str, held: bool) -> None:
    other = Path(tempfile.mkdtemp(prefix="attnbench-"))
    with (other / name).open("wb") as file:
        if held:
            fcntl.flock(file, fcntl.LOCK_EX)
        os.utime(other, (0, 0))
        with scratch():
            assert other.exists() == held


def test_a_folder_without_a_lock_is_nobodys_where_it_is_empty_alone(tmp_path: Path) -> None:
    empty, full = (Path(tempfile.mkdtemp(prefix="attnbench-")) for _ in range(2))
    (full / "content").touch()
    for each in (empty, full):
        os.utime(each, (0, 0))
    with scratch():
        assert not empty.exists()
        assert full.exists()  # of a system that locks no files


@pytest.mark.parametrize("after", ["open", "flock"])
def test_one_whose_folder_was_taken_for_one_of_the_killed_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    lock, taken = fcntl.flock, []

    def others_come_first(file: io.IOBase, how: int) -> None:
        if not taken:
            taken.append(Path(file.name).parent)
            shutil.rmtree(taken[0])
            if after == "open":
                raise BlockingIOError
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", others_come_first)
    with scratch() as folder:
        assert folder.is_dir()
        assert [folder] == list(tmp_path.iterdir()) != taken


def test_one_that_is_emptied_meanwhile_is_no_fault() -> None:
    with scratch() as folder:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def test_no_room_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    with pytest.raises(StoreError, match="No space left on device; make room, or set TMPDIR"), scratch():
        pass


def test_no_folder_for_temporary_files_at_all_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(StoreError, match=r"no room for temporary files: No usable .*; make room"), scratch():
        pass
