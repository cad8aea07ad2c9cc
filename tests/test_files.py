"""Files are read whole within bounds and put in place whole, whatever the disk does."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from attnbench import files
from attnbench.files import UnreadableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """One thing to read."""

    count: int


def test_what_was_put_is_read_again_without_the_mark_of_an_editor(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.put(path, '\ufeff{"count": 3}', sync=True)
    assert files.json_of(path, Noted) == Noted(count=3)
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_text_that_is_no_unicode_is_written_as_it_would_be_escaped(tmp_path: Path) -> None:
    files.put(tmp_path / "a", "a\udcffb")
    assert (tmp_path / "a").read_bytes() == b"a\\udcffb"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"count": "3"}', "a.json: count: expected a whole number, got '3'"),
        (b'{"count": 3, "more": 1}', "a.json: unknown name 'more'"),
        (b"{}", "a.json: lacks count"),
        (b"[]", "a.json: expected names with values, got"),
        (b'{\n"count": }', "a.json, line 2: not JSON, expecting value"),
        (b"", "a.json, line 1: not JSON"),
        (b"\xff", "a.json is no text in UTF-8: invalid start byte at byte 0"),
        (b"[" * 100_000, "a.json: lists or tables within more than 64 others"),
        (b'{"count": %s}' % (b"9" * 5000), "a.json: a whole number of 5000 digits"),
    ],
)
def test_what_does_not_fit_is_said_with_the_file_and_the_line(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UnreadableError) as raised:
        files.json_of(tmp_path / "a.json", Noted)
    assert said in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a = \nb = 1", "is not TOML: Invalid value (at line 1"),
        ("a = " + "[" * 5000, "within more than 64 others"),
        (f"{'.'.join('a' * 5000)} = 1", "within more than 64 others"),
        (f"a = {'9' * 5000}", "is not TOML"),
        ("a = 1\x00", "is not TOML"),
    ],
)
def test_the_same_holds_of_toml(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(content)
    with pytest.raises(UnreadableError) as raised:
        files.toml_of(tmp_path / "a.toml")
    assert str(tmp_path / "a.toml") in str(raised.value)
    assert said in str(raised.value)


def test_a_pipe_a_folder_and_what_is_not_there_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "far").symlink_to("far")
    names = {
        "pipe": "is no file",
        ".": "Is a directory",
        "gone": "No such file",
        "far": "Too many levels",
        "a\0": "embedded null",
    }
    for name, said in {**names, "a" * 300: "File name too long"}.items():
        with pytest.raises(UnreadableError, match=said):
            files.text_of(tmp_path / name)


@pytest.mark.parametrize("step", ["pathlib.Path.open", "os.fsync", "pathlib.Path.replace"])
def test_a_disk_that_fails_leaves_what_was_there_and_nothing_beside_it(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    files.put(path, "old")

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(OSError, match="No space"):
        files.put(path, "new", sync=True)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_what_a_link_leads_to_is_replaced_and_a_device_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("there")
    files.put(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "new"
    files.put(Path("/dev/null"), "new")
    with pytest.raises(OSError, match="No space"):
        files.put(Path("/dev/full"), "new")


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    for turn in range(3):
        files.put(tmp_path / "a.json", str(turn))
        files.set_aside(tmp_path / "a.json", "unread")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.unread-2.json",
        "a.unread-3.json",
        "a.unread.json",
    ]
