"""What is warned of during a call is told each time, short and on one line, and leaves the process as it was."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention

from attnbench.probes.warned import said, warned

pytestmark = pytest.mark.filterwarnings("ignore")


def noted(*texts: str, kind: type[Warning] = UserWarning) -> list[str]:
    with warned() as found:
        for text in texts:
            warnings.warn(text, kind, stacklevel=1)
    return found


def test_flex_attention_that_is_not_compiled_is_told_each_time() -> None:
    q = torch.zeros(1, 1, 8, 16)
    for _ in range(2):
        with warned() as texts:
            flex_attention(q, q, q)
        assert "flex_attention called without torch.compile()" in texts[0]


def test_what_the_interpreter_tells_once_a_line_is_told_each_time() -> None:
    assert [noted("slow path") for _ in range(2)] == [["slow path"], ["slow path"]]


def test_texts_are_short_printable_and_told_once() -> None:
    texts = noted("a\n\x1b[31mb", "a\n\x1b[31mb", "x" * 100_000)
    assert len(texts) == 2
    assert all(text.isprintable() and len(text) < 250 for text in texts)


def test_what_is_said_to_programmers_is_no_note() -> None:
    assert noted("old name", kind=DeprecationWarning) == []


def test_many_texts_are_counted() -> None:
    assert said([]) is None
    assert said(list("abcde")) == "a; b; c; and 2 more"


def test_the_process_is_as_it_was_afterwards() -> None:
    def state() -> tuple[object, ...]:
        return list(warnings.filters), torch.is_warn_always_enabled(), warnings.showwarning

    before = state()
    with warned():
        warnings.simplefilter("error")
    assert state() == before
