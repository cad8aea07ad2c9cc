"""Ledgers, and verdicts that come from what was measured."""

import io
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from rich.console import Console
from torch import nn

from attnbench.claims import arithmetic, audit, fit, ledger, plan
from attnbench.claims.answer import Answer, Unanswered, answer
from attnbench.claims.ledger import Check, Claim, Reason, Relation, Take
from attnbench.claims.plan import Means, Point
from attnbench.claims.verdict import Judgement, Verdict, judge
from attnbench.errors import UsageError
from attnbench.job import Settings
from attnbench.probes.interval import Estimate
from attnbench.record import Cell, Record, Scope, Status
from attnbench.registry import discover, from_file
from attnbench.report.claims import disturbances, summary, table, to_markdown

QUICK = Settings(precision=0.2, max_time_s=0.3)


def test_formulas_are_arithmetic_and_nothing_else() -> None:
    assert arithmetic.evaluate("4*N*C**2 + 2*N**2*C/h", {"N": 3, "C": 2, "h": 2}) == 4 * 3 * 4 + 2 * 9 * 2 / 2
    for wrong in ("__import__('os')", "N.real", "N if N else 1", "'N'", "N +", "f(N)"):
        with pytest.raises(ValueError, match=r"formula|more than|number|symbol"):
            arithmetic.parse(wrong, names={"N"})
    with pytest.raises(ValueError, match="unknown symbol 'M'; known: C, N"):
        arithmetic.parse("N*M", names={"N", "C"})


def test_the_exponent_of_a_power_law_is_recovered_and_its_interval_widens_off_it() -> None:
    x = [1.0, 2.0, 4.0, 8.0, 16.0]
    exact = fit.exponent(x, [3 * each**1.5 for each in x])
    assert exact.value == pytest.approx(1.5)
    assert exact.high - exact.low < 1e-6
    bent = fit.exponent(x, [each + each**2 for each in x])
    assert 1 < bent.low < bent.value < bent.high < 2
    with pytest.raises(ValueError, match="at least 3 points, got 2"):
        fit.exponent([1, 2], [1, 2])


ENTRY = """
[[claim]]
id = "a.params"
says = "parameters of a"
quantity = "params"
value = 12.70
unit = "M"
source = "a paper, table 1"
certainty = "verbatim"
check = { network = "a", metric = "params" }
reasons = [{ says = "products left out", metric = "macs", less = "macs_attention" }]
"""


def ledger_of(folder: Path, text: str) -> Path:
    (folder / "claims.toml").write_text(text)
    return folder / "claims.toml"


def test_a_claim_is_as_exact_as_its_last_printed_digit(tmp_path: Path) -> None:
    (claim,) = ledger.read(ledger_of(tmp_path, ENTRY))
    assert claim.value == Decimal("12.70")
    assert claim.tolerance == pytest.approx(0.005)
    assert replace(claim, value=Decimal(29)).tolerance == 0.5
    assert claim.check == Check(network="a", metric="params", scope="network")
    assert claim.reasons[0].check.less == "macs_attention"
    assert claim.reasons[0].check.network == "a"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('unit = "M"', 'unit = "furlongs"', "unknown unit 'furlongs'"),
        ('source = "a paper, table 1"', "", "lacks source"),
        ('certainty = "verbatim"', 'certainty = "surely"', "certainty 'surely'; expected verbatim"),
        ('metric = "params"', 'metric = "parms"', "unknown metric 'parms'; did you mean params"),
        ('network = "a"', 'network = "a", mechanism = "b"', "either a mechanism or a network"),
        ('network = "a"', 'netwrok = "a"', "unknown name 'netwrok'; did you mean network"),
        ("value = 12.70", 'value = "many"', "is a text"),
        ('check = { network = "a", metric = "params" }', "", "a reason says why"),
        ('less = "macs_attention"', 'formula = "N*Q"', "unknown symbol 'Q'"),
        (', metric = "macs", less = "macs_attention"', "", "changes nothing in the check"),
    ],
)
def test_what_is_wrong_with_a_claim_is_said_with_its_file_and_name(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    assert old in ENTRY
    with pytest.raises(UsageError) as error:
        ledger.read(ledger_of(tmp_path, ENTRY.replace(old, new)))
    assert said in str(error.value)
    assert str(tmp_path / "claims.toml") in str(error.value)
    assert "a.params" in str(error.value)


def test_every_mistake_of_every_claim_is_said_at_once(tmp_path: Path) -> None:
    text = ENTRY.replace('"M"', '"m"') + ENTRY.replace("a.params", "b") + ENTRY.replace("a.params", "b")
    with pytest.raises(UsageError) as error:
        ledger.read(ledger_of(tmp_path, text + "[other]\n"))
    assert len(error.value.mistakes) == 3  # the unit, the name [other], and b twice
    with pytest.raises(UsageError, match="is not TOML"):
        ledger.read(ledger_of(tmp_path, "[[claim"))


def test_the_ledgers_that_come_with_attnbench_are_whole_and_sourced() -> None:
    claims = ledger.find(discover().plugins.values())
    assert {"hmhsa", "mhsa", "qna", "swin", "lavit"} <= {claim.mechanism for claim in claims}
    assert all(claim.source and claim.says and claim.quantity for claim in claims)


def test_a_local_file_brings_its_ledger_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("")
    assert ledger.find([from_file(path, "Mine")]) == []
    (tmp_path / "mine.claims.toml").write_text(ENTRY)
    (claim,) = ledger.find([from_file(path, "Mine")])
    assert claim.id == "a.params"
    assert claim.mechanism == f"{path}:Mine"


# From checks to cells.


def test_a_check_becomes_its_cells_and_a_ratio_those_of_both_sides() -> None:
    check = Check(
        mechanism="swin", over="mhsa", metric="latency_median_s", scope="layer", res=("112", "224"), stage=("2",),
        dim=(64, 128), head_dim=32, depth=2,
    )  # fmt: skip
    found = plan.plan([check], Means(device="cpu"))
    points = found.points[check]
    assert [(p.of.mechanism, p.over and p.over.mechanism) for p in points] == [("swin", "mhsa")] * 4
    assert [(p.of.height, p.of.dim, p.of.heads, p.of.stage, p.of.depth) for p in points] == [
        (112, 64, 2, 2, 2), (224, 64, 2, 2, 2), (112, 128, 4, 2, 2), (224, 128, 4, 2, 2),
    ]  # fmt: skip
    assert len(found.sweep.cells) == 8
    assert set(found.sweep.baselines.values()) == {p.over.key for p in points if p.over}


def test_an_option_is_gone_along_on_both_sides() -> None:
    check = Check(
        mechanism="swin", over="qna", metric="macs", scope="layer", along="window", values=("3", "5"),
        take=Take.LARGEST,
    )  # fmt: skip
    points = plan.plan([check], Means(device="cpu")).points[check]
    assert [(p.at, p.of.options["window"], p.over and p.over.options["window"]) for p in points] == [
        ("3", 3, 3), ("5", 5, 5),
    ]  # fmt: skip
    assert {p.of.task.value for p in points} == {"counts"}


def test_what_is_asked_of_a_cell_by_several_checks_is_measured_once() -> None:
    time = Check(mechanism="swin", over="mhsa", metric="latency_median_s", scope="layer")
    checks = [replace(time, metric=metric) for metric in ("macs", "memory_peak_bytes", "latency_median_s")]
    found = plan.plan(checks, Means(device="cpu"))
    assert len(found.sweep.cells) == 2
    assert found.points[checks[0]] == found.points[checks[1]] == found.points[checks[2]]


def test_a_check_that_names_what_is_not_there_costs_the_others_nothing() -> None:
    wrong = Check(mechanism="swinn", metric="macs", scope="layer")
    right = Check(mechanism="swin", metric="macs", scope="layer")
    found = plan.plan([wrong, right], Means(device="cpu"))
    assert "did you mean swin" in found.unplanned[wrong]
    assert list(found.points) == [right]


@pytest.mark.parametrize(
    ("check", "typed"),
    [
        (Check(network="a", metric="params", scope="network"), "--networks a --res 224 --until counts"),
        (
            Check(mechanism="swin", over="mhsa", metric="latency_median_s", scope="layer", dim=(64,), head_dim=32),
            "--mechanisms swin,mhsa --scope layer --stage 3 --depth 1 --dim 64 --heads 2 --res 224",
        ),
        (
            Check(network="a", metric="accuracy_top1", scope="network"),
            "--networks a --checkpoint a=FILE --accuracy folder:PATH",
        ),
    ],
)
def test_the_command_that_measures_the_same_is_said(check: Check, typed: str) -> None:
    assert plan.command(check) == f"attnbench run {typed}"


# From records to answers.


def cell(mechanism: str = "a", **fields: object) -> Cell:
    fields = {"scope": Scope.LAYER, "height": 224, "width": 224, "stage": 3, "dim": 8, "heads": 2, "depth": 1} | fields
    return Cell(mechanism=mechanism, **fields)  # type: ignore[arg-type]


def record(of: Cell, **metrics: float) -> Record:
    return Record(cell=of, status=Status.OK, metrics=metrics)


def recorded(*records: Record) -> dict[str, Record]:
    return {one.cell.key: one for one in records}


MACS = Check(mechanism="a", metric="macs", scope="layer")


def test_a_figure_is_read_and_what_is_left_out_taken_off(tmp_path: Path) -> None:
    records = recorded(record(cell(), macs=100, macs_attention=30))
    found = answer(MACS, [Point(of=cell())], records, tmp_path)
    assert found.estimate == Estimate(value=100, low=100, high=100)
    less = answer(replace(MACS, less="macs_attention"), [Point(of=cell())], records, tmp_path)
    assert less.estimate.value == 70


def test_a_ratio_of_times_is_taken_within_the_rounds(tmp_path: Path) -> None:
    of, over = cell("a"), cell("b")
    drift = np.linspace(1, 3, 40)  # a machine that slows down to a third: medians' quotients would not show 2
    for one, factor, calls in ((of, 2.0, 1), (over, 1.0, 4)):
        elapsed = (drift * factor * 1e6 * calls).astype(np.int64)
        np.savez(tmp_path / f"{one.key}.npz", elapsed_ns=elapsed, calls_per_sample=calls)
    check = Check(mechanism="a", over="b", metric="latency_median_s", scope="layer")
    records = recorded(record(of, latency_median_s=1.0), record(over, latency_median_s=9.0))
    found = answer(check, [Point(of=of, over=over)], records, tmp_path)
    assert found.estimate.value == pytest.approx(2.0, rel=1e-3)
    assert found.estimate.low <= 2.0 <= found.estimate.high


def test_a_formula_is_compared_at_every_size_and_its_growth_fitted(tmp_path: Path) -> None:
    cells = [cell(height=side, width=side) for side in (112, 224, 448)]
    check = replace(MACS, formula="2*N**2*C", left_out="N*C**2")
    tokens = [(each.height // 16) ** 2 for each in cells]
    right = recorded(*(record(each, macs=2 * n**2 * 8 + n * 64) for each, n in zip(cells, tokens, strict=True)))
    found = answer(check, [Point(of=each) for each in cells], right, tmp_path)
    assert found.estimate.value == pytest.approx(2)
    assert found.formula_exponent == pytest.approx(2)
    assert found.deviation == pytest.approx(0, abs=1e-12)
    wrong = recorded(*(record(each, macs=2.2 * n**2 * 8 + n * 64) for each, n in zip(cells, tokens, strict=True)))
    assert answer(check, [Point(of=each) for each in cells], wrong, tmp_path).deviation == pytest.approx(0.1)


def test_the_largest_figure_says_where_it_was_found(tmp_path: Path) -> None:
    cells = {at: cell(options={"window": int(at)}) for at in ("3", "5", "7")}
    records = recorded(*(record(each, macs=10 * int(at) ** 2) for at, each in cells.items()))
    points = [Point(of=each, at=at) for at, each in cells.items()]
    check = replace(MACS, along="window", values=("3", "5", "7"))
    largest = answer(replace(check, take=Take.LARGEST), points, records, tmp_path)
    assert largest.where is not None
    assert (largest.estimate.value, largest.where.at) == (490, "7")
    assert answer(replace(check, take=Take.EXPONENT), points, records, tmp_path).estimate.value == pytest.approx(2)
    with pytest.raises(Unanswered, match="3 figures where one is needed"):
        answer(check, points, records, tmp_path)


def test_a_cell_that_did_not_end_well_answers_nothing_and_says_why(tmp_path: Path) -> None:
    failed = Record(cell=cell(), status=Status.TIMEOUT, reason="took too long")
    for records, said in (
        (recorded(failed), "timeout: took too long"),
        ({}, "was not run"),
        (recorded(record(cell())), "has no macs"),
    ):
        with pytest.raises(Unanswered, match=said):
            answer(MACS, [Point(of=cell())], records, tmp_path)


# Verdicts.


def claim(value: object = Decimal("2.0"), **fields: object) -> Claim:
    fields = {"unit": "G", "check": MACS} | fields
    return Claim(
        id="a.macs", says="it costs", quantity="macs", value=value, source="table 1", certainty="verbatim", **fields
    )  # type: ignore[arg-type]


def exactly(value: float, low: float | None = None, high: float | None = None) -> Answer:
    estimate = Estimate(value=value, low=value if low is None else low, high=value if high is None else high)
    return Answer(estimate=estimate, figures=())


def verdict(one: Claim, outcome: Answer | str | None, *, hardware: str = "") -> Verdict:
    outcomes = {one.check: outcome} if outcome is not None and one.check is not None else {}
    return judge(one, outcomes, hardware=hardware).verdict


@pytest.mark.parametrize(
    ("measured", "expected"),
    [(1.97e9, Verdict.REPRODUCED), (2.05e9, Verdict.REPRODUCED), (2.06e9, Verdict.DIFFERS), (1.94e9, Verdict.DIFFERS)],
)
def test_a_figure_is_reproduced_where_it_rounds_to_the_one_printed(measured: float, expected: Verdict) -> None:
    assert verdict(claim(), exactly(measured)) is expected


def test_an_interval_that_meets_the_figure_reproduces_it() -> None:
    ratio = claim(Decimal("1.5"), unit="x")
    assert verdict(ratio, exactly(1.6, 1.54, 1.7)) is Verdict.REPRODUCED
    assert verdict(ratio, exactly(1.6, 1.56, 1.7)) is Verdict.DIFFERS


@pytest.mark.parametrize(
    ("relation", "measured", "expected"),
    [
        (Relation.AT_LEAST, (12, 11, 13), Verdict.REPRODUCED),
        (Relation.AT_LEAST, (8, 7, 11), Verdict.DIFFERS),
        (Relation.AT_MOST, (8, 7, 11), Verdict.REPRODUCED),
        (Relation.ABOVE, (12, 9.9, 13), Verdict.DIFFERS),
        (Relation.ABOVE, (12, 10.1, 13), Verdict.REPRODUCED),
        (Relation.BELOW, (9, 8, 9.9), Verdict.REPRODUCED),
        (Relation.BELOW, (9, 8, 10.1), Verdict.DIFFERS),
    ],
)
def test_what_a_claim_says_of_its_figure_decides(
    relation: Relation, measured: tuple[float, float, float], expected: Verdict
) -> None:
    assert verdict(claim(Decimal(10), unit="x", relation=relation), exactly(*measured)) is expected


def test_per_cent_of_a_ratio_is_what_it_is_more_than_one() -> None:
    check = Check(mechanism="a", over="b", metric="latency_median_s", scope="layer")
    assert verdict(claim(Decimal(13), unit="%", check=check), exactly(1.134)) is Verdict.REPRODUCED
    top1 = Check(network="a", metric="accuracy_top1", scope="network")
    assert verdict(claim(Decimal("79.8"), unit="%", check=top1), exactly(0.798)) is Verdict.REPRODUCED


def test_a_reason_is_given_only_where_it_gives_the_figure_printed() -> None:
    without = replace(MACS, less="macs_attention")
    one = claim(reasons=(Reason(says="products left out", check=without),))
    assert judge(one, {MACS: exactly(2.13e9), without: exactly(1.97e9)}, hardware="").because == (
        "products left out, which gives 1.97 G",
    )
    assert judge(one, {MACS: exactly(2.13e9), without: exactly(1.80e9)}, hardware="").because == ()
    assert judge(one, {MACS: exactly(2.13e9), without: "it failed"}, hardware="").because == ()


def test_what_cannot_be_checked_says_what_it_needs() -> None:
    assert verdict(claim(data="ImageNet-1K"), None) is Verdict.NEEDS_DATA
    assert verdict(claim(data="ImageNet-1K"), exactly(2e9)) is Verdict.REPRODUCED
    assert verdict(claim(hardware="V100"), None) is Verdict.NEEDS_GPU
    assert verdict(claim(hardware="V100"), exactly(2e9), hardware="NVIDIA H200") is Verdict.NEEDS_GPU
    assert verdict(claim(hardware="V100"), exactly(2e9), hardware="Tesla V100") is Verdict.REPRODUCED
    assert verdict(claim(missing="the batch"), exactly(2e9)) is Verdict.UNSTATED
    assert verdict(claim(), "timeout: too long") is Verdict.NOT_MEASURED
    assert verdict(claim(), None) is Verdict.NOT_MEASURED


def test_an_absolute_time_is_measured_on_the_claims_hardware_alone_and_a_ratio_anywhere() -> None:
    absolute = Check(mechanism="a", metric="latency_median_s", scope="layer")
    ratio = replace(absolute, over="b")
    claims = [claim(check=check, hardware="V100") for check in (absolute, ratio)]
    assert plan.checks_of(claims, "", Means()) == [ratio]
    assert plan.checks_of(claims, "Tesla V100", Means()) == [absolute, ratio]


# From a layer to its verdicts: one claim of each kind, and what a changed layer does to them.

LAYER = """
from torch import nn
from attnbench.mechanism import Mechanism

class Mine(Mechanism):
    \"\"\"As many products with one matrix as asked for.\"\"\"

    def __init__(self, site, *, window: int = 1):
        super().__init__(site)
        self.window = {repeats}
        self.first = nn.Linear(site.dim, {width} * site.dim, bias=False)
        self.last = nn.Linear({width} * site.dim, site.dim, bias=False)

    def forward(self, x):
        for _ in range(self.window):
            x = self.last(self.first(x))
        return x
"""
LEDGER = """
[[claim]]
id = "params"
says = "parameters"
quantity = "params"
value = 18.4
unit = "k"
source = "here"
certainty = "verbatim"
check = { mechanism = "PATH", metric = "params", dim = 96 }

[[claim]]
id = "formula"
says = "multiply-adds"
quantity = "macs"
value = "2 N C^2"
source = "here"
certainty = "verbatim"
check = { mechanism = "PATH", metric = "macs_torch", dim = 96, res = ["112", "224", "448"], formula = "2*N*C**2" }

[[claim]]
id = "ratio"
says = "multiply-adds over those of window 1"
quantity = "macs"
value = 40
unit = "x"
source = "here"
certainty = "verbatim"
check = { mechanism = "PATH:window=40", over = "PATH:window=1", metric = "macs", dim = 96 }

[[claim]]
id = "time"
says = "time over that of window 1"
quantity = "latency"
value = 4
unit = "x"
relation = "above"
source = "here"
certainty = "verbatim"
check = { mechanism = "PATH:window=40", over = "PATH:window=1", metric = "latency_median_s", dim = 96 }

[[claim]]
id = "growth"
says = "grows with the window"
quantity = "macs"
value = 1
source = "here"
certainty = "verbatim"
check = { mechanism = "PATH", metric = "macs", dim = 96, along = "window", values = [1, 2, 4], take = "exponent" }
"""


def audited(path: Path, folder: Path) -> audit.Audit:
    claims = audit.claims_of([f"{path}:Mine"])
    means = Means(device="cpu", threads=1)
    return audit.judge(claims, means, settings=QUICK, folder=folder, fresh=True, console=Console(quiet=True))


def test_a_changed_layer_changes_the_verdict_of_every_kind_of_claim(tmp_path: Path) -> None:
    ends = {}
    for name, width, repeats in (("published", 1, "window"), ("changed", 2, 1)):
        path = tmp_path / name / "mine.py"
        path.parent.mkdir()
        path.write_text(LAYER.format(width=width, repeats=repeats))
        path.with_suffix(".claims.toml").write_text(LEDGER.replace("PATH", f"{path}:Mine"))
        found = audited(path, tmp_path / name / "run")
        ends[name] = {one.claim.id: one.verdict for one in found.judgements}
    assert set(ends["published"].values()) == {Verdict.REPRODUCED}, ends
    assert set(ends["changed"].values()) == {Verdict.DIFFERS}, ends


def test_other_weights_change_the_verdict_on_an_accuracy(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for name, count in (("a", 10), ("b", 1), ("c", 1)):
        (tmp_path / "val" / name).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(draw.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(
                tmp_path / "val" / name / f"{index}.png"
            )
    check = Check(network="resnet10t:num_classes=3", metric="accuracy_top1", scope="network", res=("64",))
    stated = claim(Decimal("83.3"), unit="%", check=check, data="the folder")
    ends = []
    for favourite in (0, 1):
        network = timm.create_model("resnet10t", num_classes=3)
        nn.init.zeros_(network.fc.weight)
        nn.init.zeros_(network.fc.bias)
        network.fc.bias.data[favourite] = 1.0
        torch.save(network.state_dict(), tmp_path / "weights.pth")
        means = Means(device="cpu", dataset=f"folder:{tmp_path}", checkpoint=(f"resnet10t={tmp_path / 'weights.pth'}",))
        folder, console = tmp_path / f"run-{favourite}", Console(quiet=True)
        found = audit.judge([stated], means, settings=QUICK, folder=folder, fresh=True, console=console)
        ends.append(found.judgements[0])
    assert [one.verdict for one in ends] == [Verdict.REPRODUCED, Verdict.DIFFERS], ends


# The page.


def judgements() -> list[Judgement]:
    stated = replace(claim(data="ImageNet-1K"), id="a.top1", mechanism="a")
    return [
        judge(replace(claim(), mechanism="a"), {MACS: exactly(2.13e9)}, hardware=""),
        judge(stated, {}, hardware=""),
        judge(replace(claim(hardware="V100"), id="b.time", mechanism="b"), {MACS: exactly(2e9)}, hardware=""),
    ]


def test_the_page_has_every_claim_with_its_verdict_and_what_would_check_the_rest() -> None:
    page = to_markdown(
        judgements(), command_line="attnbench claims", environments={"e": [("hardware", "Xeon, 2 cores")]}
    )
    assert "3 claims: 1 differs, 1 needs a GPU, 1 needs its data set" in page
    assert "| `a.macs` it costs | table 1 \\[verbatim\\] | 2.0 G | 2.13 G | +6.5% | **differs** |" in page
    assert "**needs its data set**: ImageNet-1K" in page
    assert "- `b.time`: `attnbench run --mechanisms a --scope layer" in page
    assert "--device cuda`, on a V100" in page
    assert "Xeon, 2 cores" in page


def test_the_page_says_what_disturbed_the_timing() -> None:
    quiet = replace(record(cell("a"), latency_median_s=1.0), metrics={"latency_median_s": 1.0})
    loud = replace(quiet, metrics={"latency_median_s": 1.0, "latency_interference": "other processes used 99 %"})
    assert disturbances([quiet, record(cell(), macs=1)]) == ""
    assert disturbances([quiet, loud, loud]).startswith("Timing was disturbed in 2 of 3 timed cells")
    assert "other processes used 99 %" in disturbances([loud])


def test_the_screen_has_a_row_for_every_claim() -> None:
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(table(judgements()))
    text = console.export_text()
    assert "a.macs" in text
    assert "differs" in text
    assert summary(judgements()) in text


def test_claims_of_a_mechanism_without_a_ledger_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("")
    with pytest.raises(UsageError, match="no ledger beside"):
        audit.claims_of([f"{path}:Mine"])
