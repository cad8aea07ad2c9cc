"""The sentence that a run begins with on a screen."""

from __future__ import annotations

import pandas as pd
from records_for_reports import all_failed, default_run, row, single_resolution

from attnbench.report.comparison import prepared
from attnbench.report.conclusion import conclusion
from attnbench.report.page.blocks import Paragraph, pieces


def said(frame: pd.DataFrame) -> list[str]:
    blocks = list(conclusion(prepared(frame)))
    assert all(isinstance(block, Paragraph) for block in blocks)
    return ["".join(piece.text for piece in pieces(block.words)) for block in blocks if isinstance(block, Paragraph)]


def test_who_is_fastest_where_and_who_is_next_by_how_much() -> None:
    (sentence,) = said(default_run())
    assert sentence.startswith("Lowest latency: qna at every resolution. Next for certain at 512: ")
    assert sentence.endswith("times as long.")


def test_at_one_resolution_it_is_not_repeated() -> None:
    (sentence,) = said(single_resolution())
    assert sentence == "Lowest latency: qna at 224. Next for certain: hmhsa, 1.19 [1.18, 1.21] times as long."


def test_who_cannot_be_told_apart_is_level_and_nobody_is_next() -> None:
    level = {"latency_ratio": 1.0, "latency_ratio_ci_low": 0.9, "latency_ratio_ci_high": 1.1}
    assert said(pd.DataFrame([row(name, **level) for name in "ab"])) == ["Lowest latency: a and b, level, at 224."]


def test_of_several_sets_of_conditions_the_first_have_a_sentence_each() -> None:
    frame = pd.concat([single_resolution().assign(batch=batch) for batch in range(1, 6)])
    found = said(frame)
    assert len(found) == 3
    assert found[0].startswith("batch 1: Lowest latency: qna")


def test_one_mechanism_or_none_that_ran_gives_no_sentence() -> None:
    assert said(pd.DataFrame([row()])) == []
    assert said(all_failed()) == []
    assert said(pd.DataFrame()) == []


def test_where_nothing_was_timed_it_is_on_what_was_counted() -> None:
    untimed = dict.fromkeys(("latency_median_s", "latency_ratio", "memory_peak_bytes"))
    frame = pd.DataFrame([row(name, size, **untimed) for size in (224, 512) for name in ("mhsa", "qna")])
    assert said(frame) == ["Lowest MACs per image: mhsa and qna, level, at 224; qna at 512."]
