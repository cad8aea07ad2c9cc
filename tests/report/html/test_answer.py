"""The answer in words."""

from __future__ import annotations

import pandas as pd
from records_for_reports import OUT_OF_MEMORY, default_run, failed, row

from attnbench.report.comparison import prepared
from attnbench.report.findings import Findings
from attnbench.report.html.answer import PageAnswer, answer
from attnbench.report.html.shipped import shipped
from attnbench.report.page.blocks import Listing, Table, Words, pieces


def answered(rows: list[dict[str, object]] | pd.DataFrame, missing: tuple[str, ...] = ()) -> PageAnswer:
    return answer(shipped(Findings(rows=prepared(pd.DataFrame(rows)))), missing=missing)


def said(words: Words) -> str:
    return "".join(piece.text for piece in pieces(words))


def points(found: PageAnswer, setting: int = 0) -> list[str]:
    return [said(point) for block in found.settings[setting][1] if isinstance(block, Listing) for point in block.points]


def test_who_is_best_where_is_said_in_stretches_of_resolutions() -> None:
    rows = [row(name, side) for side in (64, 224, 448) for name in ("mhsa", "qna")]
    rows[0] |= {"latency_ratio": 0.5, "latency_ratio_ci_low": 0.5, "latency_ratio_ci_high": 0.5}
    assert points(answered(rows))[0] == "Lowest latency: mhsa at 64; qna at 224 and 448."


def test_who_is_level_is_named_with_the_best() -> None:
    rows = [row(name, latency_ratio=1.0, latency_ratio_ci_low=0.9, latency_ratio_ci_high=1.1) for name in "ab"]
    assert points(answered(rows))[0] == "Lowest latency: a and b, level, at 224."


def test_the_table_says_by_how_much_and_how_sure() -> None:
    (table,) = [block for block in answered(default_run()).settings[0][1] if isinstance(block, Table)]
    assert all("[" in said(line[2]) for line in table.rows)
    assert {said(line[-1]) for line in table.rows} == {"certain"}


def test_what_failed_or_is_doubted_is_left_out_with_its_reason() -> None:
    rows = [row("mhsa"), row("qna", suspicious="values differ"), failed("swin", 512, "oom", OUT_OF_MEMORY)]
    (left,) = answered(rows, missing=("a", "b")).left_out
    assert isinstance(left, Listing)
    assert [said(point) for point in left.points] == [
        "qna at 224: not ranked: values differ",
        f"swin at 512: oom: {OUT_OF_MEMORY}",
        "2 cells that were asked for were not reached and have no row",
    ]


def test_every_set_of_conditions_has_its_answer() -> None:
    found = answered([row(name, dtype=dtype) for dtype in ("float32", "bfloat16") for name in ("mhsa", "qna")])
    assert [name for name, _ in found.settings] == ["float32", "bfloat16"]


def test_what_is_left_out_under_some_conditions_is_said_of_these_alone() -> None:
    types = ("float32", "bfloat16", "float16")
    rows = [row("mhsa", 224, dtype=dtype) for dtype in types]
    fails = {"float16": "no kernel", "bfloat16": "too large", "float32": "too large"}
    rows += [failed("qna", 224, "failed", why, dtype=dtype) for dtype, why in fails.items()]
    rows += [failed("swin", 224, "failed", "never", dtype=dtype) for dtype in types]
    (listing,) = answered(rows).left_out
    assert isinstance(listing, Listing)
    assert {said(point) for point in listing.points} == {
        "qna at 224, float16: failed: no kernel",
        "qna at 224, in 2 of 3 sets of conditions: failed: too large",
        "swin at 224: failed: never",
    }
