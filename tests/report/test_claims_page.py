"""Verdicts on the screen, as a page and as plots."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up_claims import MACS, cell, claim, exactly, record
from rich.console import Console

from attnbench.claims.answer import Answer
from attnbench.claims.answer import Figure as MeasuredFigure
from attnbench.claims.claim import Take
from attnbench.claims.plan import ClaimPoint
from attnbench.claims.verdict import ClaimVerdict, Judgement, judge
from attnbench.errors import StoreError
from attnbench.probes.interval import Estimate
from attnbench.report.claims import brief, difference, disturbances, measured, page, summary
from attnbench.report.page.markdown import markdown
from attnbench.report.page.screen import screen
from attnbench.report.plots.claims import draw


def judgements() -> list[Judgement]:
    stated = replace(claim(data="ImageNet-1K"), id="a.top1", mechanism="a")
    return [
        judge(replace(claim(), mechanism="a"), {MACS: exactly(2.13e9)}, hardware=""),
        judge(stated, {}, hardware=""),
        judge(replace(claim(hardware="V100"), id="b.time", mechanism="b"), {MACS: exactly(2e9)}, hardware=""),
    ]


def page_of(found: list[Judgement], **options: Any) -> str:
    return markdown(page(found, **options), Path())


def test_the_page_has_every_claim_with_its_verdict_and_what_would_check_the_rest() -> None:
    text = page_of(judgements(), command_line="attnbench claims", environments={"e": [("hardware", "Xeon, 2 cores")]})
    assert "3 claims: 1 differs, 1 needs a GPU, 1 needs its data set" in text
    assert "| `a.macs` it costs | table 1 \\[verbatim\\] | 2.0 G | 2.13 G | +6.5% | **differs** |" in text
    assert "**needs its data set**: ImageNet-1K" in text
    assert "- `b.time`: `attnbench run --mechanisms a --scope layer" in text
    assert "--device cuda`, on a V100" in text
    assert "Xeon, 2 cores" in text


def test_the_page_says_what_disturbed_the_timing() -> None:
    quiet = replace(record(cell("a"), latency_median_s=1.0), metrics={"latency_median_s": 1.0})
    loud = replace(quiet, metrics={"latency_median_s": 1.0, "latency_interference": "other processes used 99 %"})
    assert disturbances([quiet, record(cell(), macs=1)]) == ""
    assert disturbances([quiet, loud, loud]).startswith("Timing was disturbed in 2 of 3 timed cells")
    assert "other processes used 99 %" in disturbances([loud])


def test_the_screen_has_a_row_for_every_claim() -> None:
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(screen(brief(judgements())))
    text = console.export_text()
    assert "a.macs" in text
    assert "differs" in text
    assert summary(judgements()) in text


def test_what_no_command_checks_says_what_it_was_measured_on() -> None:
    timed = claim(hardware="V100", check=None)
    scored = claim(data="ADE20K", check=None)
    text = page_of([judge(one, {}, hardware="") for one in (timed, scored)], command_line="", environments={})
    assert "- `a.macs`: measuring on a V100 with the authors' code; attnbench does not" in text
    assert "- `a.macs`: training and evaluating on ADE20K with the authors' code; attnbench does not" in text


def test_a_plot_that_cannot_be_written_is_an_error_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("a file where a folder should be")
    check = replace(MACS, over="b", along="window", values=("1", "2"), take=Take.LARGEST)
    points = [ClaimPoint(of=cell("a", options={"window": at}), over=cell("b"), at=str(at)) for at in (1, 2)]
    figures = tuple(MeasuredFigure(point=point, estimate=Estimate(value=2, low=1, high=3)) for point in points)
    drawn = Judgement(
        claim=claim(check=check, plot="p"),
        verdict=ClaimVerdict.REPRODUCED,
        answer=Answer(estimate=figures[0].estimate, figures=figures),
    )
    with pytest.raises(StoreError, match=r"cannot write .*plots: File exists; give another folder"):
        draw([drawn], tmp_path / "plots")


def test_a_plot_is_shown_where_it_belongs_and_is_found_in_a_folder_of_any_name() -> None:
    one = replace(judge(claim(), {MACS: exactly(2e9)}, hardware=""), claim=claim(plot="windows"))
    plots = [Path("my runs (2)/windows-infer.png"), Path("my runs (2)/windows-small-infer.png")]
    text = page_of([one], command_line="", environments={}, plots=plots)
    assert [line for line in text.splitlines() if line.startswith("![")] == [
        "![windows infer](my%20runs%20%282%29/windows-infer.png)"
    ]


def against_formula(*factors: float) -> Judgement:
    figures = tuple(
        MeasuredFigure(
            point=ClaimPoint(of=cell()), estimate=Estimate(value=100 * f, low=100 * f, high=100 * f), formula=100.0
        )
        for f in factors
    )
    check = replace(MACS, formula="N")
    found = Answer(
        estimate=Estimate(value=1, low=1, high=1),
        figures=figures,
        deviation=max(abs(f - 1) for f in factors),
        formula_exponent=1.0,
    )
    return judge(replace(claim(), check=check, value="N"), {check: found}, hardware="")


@pytest.mark.parametrize(
    ("factors", "said", "apart"),
    [
        ((602.125, 602.125), "602.1 times the formula at 2 sizes", "602 x"),
        ((1.1, 1.25), "1.1 to 1.25 times the formula at 2 sizes", "+25.0%"),
        ((1.0, 1.0), "1 times the formula at 2 sizes", "+0.0%"),
    ],
)
def test_a_figure_beside_a_formula_is_a_factor_of_it(factors: tuple[float, ...], said: str, apart: str) -> None:
    one = against_formula(*factors)
    assert (measured(one), difference(one)) == (said, apart)


def test_verdicts_of_several_claims_are_in_the_plural() -> None:
    differs = against_formula(3.0)
    assert summary([differs]) == "1 claim: 1 differs"
    assert summary([differs, differs]) == "2 claims: 2 differ"
