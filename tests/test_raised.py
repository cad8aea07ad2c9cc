"""Exceptions in one line: what they say, and where they say nothing the line of code that raised them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from attnbench import raised
from attnbench.record import Status
from attnbench.worker.events import outcome

CODE = """
import torch


def asserts(x):
    assert x.shape[-1] == 7


def raises(x):
    raise KeyError


def calls_torch(x):
    torch.nn.functional._assert(False, "")


def says(x):
    raise ValueError("seven channels")
"""


@pytest.fixture
def theirs(tmp_path: Path) -> ModuleType:
    (tmp_path / "theirs.py").write_text(CODE)
    spec = importlib.util.spec_from_file_location("theirs", tmp_path / "theirs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of(function: object) -> Exception:
    try:
        function(torch.zeros(1, 3))  # type: ignore[operator]
    except Exception as error:
        return error
    raise AssertionError("it raises nothing")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("asserts", "AssertionError, at `assert x.shape[-1] == 7` (theirs.py:6)"),
        ("raises", "KeyError, at `raise KeyError` (theirs.py:10)"),
        ("says", "ValueError: seven channels"),
    ],
)
def test_what_says_nothing_is_given_its_line(theirs: ModuleType, name: str, said: str) -> None:
    error = of(getattr(theirs, name))
    assert raised.in_words(error) == said
    assert outcome(error) == (Status.FAILED, said)


def test_the_line_is_theirs_and_not_torchs(theirs: ModuleType) -> None:
    assert "theirs.py:14" in raised.place_of(of(theirs.calls_torch))


def test_what_has_no_trace_has_no_line() -> None:
    assert raised.in_words(AssertionError()) == "AssertionError"


def test_whose_import_it_was_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_one").mkdir()
    (tmp_path / "broken_one" / "__init__.py").write_text("from broken_one import part\n")
    (tmp_path / "broken_one" / "part.py").write_text("import ctypes; ctypes.CDLL('no such library')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(OSError, match="no such library") as caught:
        importlib.import_module("broken_one")
    trace = caught.value.__traceback__
    assert trace is not None
    assert raised.while_importing(caught.value.with_traceback(trace.tb_next)) == "broken_one"
    assert raised.while_importing(ValueError("of nobody's import")) == ""
