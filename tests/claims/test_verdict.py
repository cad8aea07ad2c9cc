"""From a figure to what is said of a claim."""

from dataclasses import replace
from decimal import Decimal

import pytest
from made_up_claims import MACS, claim, exactly

from attnbench.claims.answer import Answer
from attnbench.claims.claim import Check, Claim, Reason, Relation
from attnbench.claims.verdict import ClaimVerdict, judge


def verdict(one: Claim, outcome: Answer | str | None, *, hardware: str = "") -> ClaimVerdict:
    outcomes = {one.check: outcome} if outcome is not None and one.check is not None else {}
    return judge(one, outcomes, hardware=hardware).verdict


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (1.97e9, ClaimVerdict.REPRODUCED),
        (2.05e9, ClaimVerdict.REPRODUCED),
        (2.06e9, ClaimVerdict.DIFFERS),
        (1.94e9, ClaimVerdict.DIFFERS),
    ],
)
def test_a_figure_is_reproduced_where_it_rounds_to_the_one_printed(measured: float, expected: ClaimVerdict) -> None:
    assert verdict(claim(), exactly(measured)) is expected


def test_an_interval_that_meets_the_figure_reproduces_it() -> None:
    ratio = claim(Decimal("1.5"), unit="x")
    assert verdict(ratio, exactly(1.6, 1.54, 1.7)) is ClaimVerdict.REPRODUCED
    assert verdict(ratio, exactly(1.6, 1.56, 1.7)) is ClaimVerdict.DIFFERS


@pytest.mark.parametrize(
    ("relation", "measured", "expected"),
    [
        (Relation.AT_LEAST, (12, 11, 13), ClaimVerdict.REPRODUCED),
        (Relation.AT_LEAST, (8, 7, 11), ClaimVerdict.DIFFERS),
        (Relation.AT_MOST, (8, 7, 11), ClaimVerdict.REPRODUCED),
        (Relation.ABOVE, (12, 9.9, 13), ClaimVerdict.DIFFERS),
        (Relation.ABOVE, (12, 10.1, 13), ClaimVerdict.REPRODUCED),
        (Relation.BELOW, (9, 8, 9.9), ClaimVerdict.REPRODUCED),
        (Relation.BELOW, (9, 8, 10.1), ClaimVerdict.DIFFERS),
    ],
)
def test_what_a_claim_says_of_its_figure_decides(
    relation: Relation, measured: tuple[float, float, float], expected: ClaimVerdict
) -> None:
    assert verdict(claim(Decimal(10), unit="x", relation=relation), exactly(*measured)) is expected


def test_per_cent_of_a_ratio_is_what_it_is_more_than_one() -> None:
    check = Check(mechanism="a", over="b", metric="latency_median_s", scope="layer")
    assert verdict(claim(Decimal(13), unit="%", check=check), exactly(1.134)) is ClaimVerdict.REPRODUCED
    top1 = Check(network="a", metric="accuracy_top1", scope="network")
    assert verdict(claim(Decimal("79.8"), unit="%", check=top1), exactly(0.798)) is ClaimVerdict.REPRODUCED


def test_a_reason_is_given_only_where_it_gives_the_figure_printed() -> None:
    without = replace(MACS, less="macs_attention")
    one = claim(reasons=(Reason(says="products left out", check=without),))
    assert judge(one, {MACS: exactly(2.13e9), without: exactly(1.97e9)}, hardware="").because == (
        "products left out, which gives 1.97 G",
    )
    assert judge(one, {MACS: exactly(2.13e9), without: exactly(1.80e9)}, hardware="").because == ()
    assert judge(one, {MACS: exactly(2.13e9), without: "it failed"}, hardware="").because == ()


def test_what_a_ledger_says_beside_a_figure_is_shown_where_it_differs() -> None:
    one = claim(beside="the source counts elementwise work too")
    assert judge(one, {MACS: exactly(2.13e9)}, hardware="").because == ("the source counts elementwise work too",)
    assert judge(one, {MACS: exactly(2.0e9)}, hardware="").because == ()


def test_a_reason_why_a_figure_is_not_the_0_stated_is_judged_as_any_other() -> None:
    without = replace(MACS, less="macs_attention")
    one = claim(Decimal(0), reasons=(Reason(says="products left out", check=without),))
    assert judge(one, {MACS: exactly(2e9), without: exactly(1e9)}, hardware="").because == ()
    assert judge(one, {MACS: exactly(2e9), without: exactly(0)}, hardware="").because == (
        "products left out, which gives 0 G",
    )


def test_what_cannot_be_checked_says_what_it_needs() -> None:
    assert verdict(claim(data="ImageNet-1K"), None) is ClaimVerdict.NEEDS_DATA
    assert verdict(claim(data="ImageNet-1K"), exactly(2e9)) is ClaimVerdict.REPRODUCED
    assert verdict(claim(hardware="V100"), None) is ClaimVerdict.NEEDS_GPU
    assert verdict(claim(hardware="V100"), exactly(2e9), hardware="NVIDIA H200") is ClaimVerdict.NEEDS_GPU
    assert verdict(claim(hardware="V100"), exactly(2e9), hardware="Tesla V100") is ClaimVerdict.REPRODUCED
    assert verdict(claim(missing="the batch"), exactly(2e9)) is ClaimVerdict.UNSTATED
    assert verdict(claim(), "timeout: too long") is ClaimVerdict.NOT_MEASURED
    assert verdict(claim(), None) is ClaimVerdict.NOT_MEASURED
