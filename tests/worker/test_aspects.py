"""What a process has one of: each change is found, said and undone."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from attnbench.worker.aspects import ASPECTS, differing, listed

CHANGES: dict[str, tuple[Callable[[], object], str]] = {
    "modules": (lambda: sys.modules.pop("json"), "entries of sys.modules: json"),
    "folder": (lambda: os.chdir("/"), "working folder from "),
    "variables": (lambda: os.environ.update(HOME="/nowhere", OF_MINE="1"), "environment variables HOME"),
    "path": (sys.path.reverse, "sys.path"),
    "mask": (lambda: os.umask(0o777), "file mode mask from "),
    "handlers": (lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN), "handlers of signals: SIGUSR1"),
    "timers": (lambda: signal.setitimer(signal.ITIMER_PROF, 1000), "timers that send signals: profiling"),
    "collector": (gc.disable, "garbage collection: on"),
    "profile": (lambda: sys.setprofile(lambda *_: None), "profile function from None to "),
    "switching": (lambda: sys.setswitchinterval(1), "interval at which threads take turns from 0.005 to 1.0"),
    "recursion": (lambda: sys.setrecursionlimit(10_000), ""),
    "warnings": (lambda: warnings.simplefilter("ignore"), ""),
    "random": (lambda: random.seed(7), ""),
    "numpy's random": (lambda: np.random.seed(7), ""),
    "numpy's errors": (lambda: np.seterr(divide="raise"), "numpy's errors: divide"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found_said_and_undone(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    change, said = CHANGES[name]
    readings = {each: aspect.read() for each, aspect in ASPECTS.items()}
    try:
        change()
        now = {each: aspect.read() for each, aspect in ASPECTS.items()}
        assert [each for each in readings if now[each] != readings[each]] == [name]
        found = ASPECTS[name].said(readings[name], now[name])
        assert found.startswith(said)
        assert bool(found) is bool(said)
    finally:
        ASPECTS[name].write(readings[name])
    assert ASPECTS[name].read() == readings[name]


def test_a_folder_that_is_gone_can_be_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    was = ASPECTS["folder"].read()
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    assert ASPECTS["folder"].said(was, ASPECTS["folder"].read()).endswith("to one that is gone")
    ASPECTS["folder"].write(was)
    assert Path.cwd() == tmp_path


def test_variables_that_torchs_compiler_sets_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    was = ASPECTS["variables"].read()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/tmp/somewhere")
    assert ASPECTS["variables"].read() == was


def test_what_libraries_and_plugins_add_is_put_back_silently() -> None:
    assert ASPECTS["variables"].said({"A": "1"}, {"A": "1", "B": "2"}) == ""
    assert ASPECTS["path"].said(["a", "b"], ["mine", "a", "b"]) == ""


def test_modules_that_are_imported_are_no_change() -> None:
    was = {"a": 1}
    assert ASPECTS["modules"].said(was, {"a": 1, "b": 2}) == ""


def test_names_are_listed_up_to_a_few() -> None:
    assert differing({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == ["b", "c"]
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 others"
