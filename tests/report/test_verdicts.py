"""A comparison as people see it, on a screen and in a pull request."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from attnbench.compare.verdict import Comparison, Outcome, Verdict
from attnbench.probes.interval import Estimate
from attnbench.record import Cell, Task
from attnbench.report import naming
from attnbench.report.page.markdown import markdown
from attnbench.report.page.screen import screen
from attnbench.report.verdicts import page


def page_of(comparison: Comparison) -> str:
    return markdown(page(comparison), Path())


def cell(mechanism: str = "mhsa", **asked: Any) -> Cell:
    return Cell(**{"mechanism": mechanism, "height": 224, "width": 224, **asked})


def latency(mechanism: str, outcome: Outcome, ratio: float | None = 1.0, reason: str = "", **asked: Any) -> Verdict:
    change = None if ratio is None else Estimate(value=ratio, low=0.99 * ratio, high=1.01 * ratio)
    return Verdict(
        cell=cell(mechanism, **asked),
        metric="latency_median_s",
        outcome=outcome,
        base=0.016,
        head=0.016 * (ratio or 1),
        change=change,
        reason=reason,
    )


def exact(metric: str, base: int, head: int, outcome: Outcome, reason: str = "") -> Verdict:
    return Verdict(cell=cell(), metric=metric, outcome=outcome, base=base, head=head, reason=reason)


EVERYTHING = Comparison(
    verdicts=(
        latency("mhsa", Outcome.SLOWER, 1.207),
        latency("swin", Outcome.SLOWER, 1.1, options={"window": 7}),
        latency("swin", Outcome.FASTER, 0.8, options={"window": 14}),
        latency("./a_plugin_with_a_long_path/and_a_long_name.py:MyOwnAttention", Outcome.SAME),
        latency("qna", Outcome.UNDECIDED, 1.05, reason="head was disturbed (other processes used 0.9 cores)"),
        latency("lavit", Outcome.NOT_COMPARED, None, reason="environments differ in software.torch: 2.11.0 / 2.12.0"),
        latency("hmhsa", Outcome.NOT_COMPARED, None, reason="environments differ in software.torch: 2.11.0 / 2.12.0"),
        exact("params", 28_288_354, 28_288_355, Outcome.WORSE),
        exact("memory_peak_bytes", 2**30, 2**29, Outcome.BETTER),
        exact("macs", 5, 5, Outcome.SAME),
        Verdict(
            cell=cell("lavit"),
            metric="status",
            outcome=Outcome.WORSE,
            base="ok",
            head="out-of-memory",
            reason="needs 9 GiB",
        ),
        Verdict(
            cell=cell(task=Task.ACCURACY, dataset="digits"),
            metric="accuracy_top1",
            outcome=Outcome.WORSE,
            base=0.81,
            head=0.77,
            change=Estimate(value=-0.04, low=-0.05, high=-0.03),
        ),
    ),
    only_in_base=(cell("performer"),),
    only_in_head=(cell("linformer"),),
)


def shown(comparison: Comparison, width: int = 80) -> str:
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(screen(page(comparison)))
    return capture.get()


def test_the_summary_counts_latencies_first_and_names_what_else_changed() -> None:
    assert EVERYTHING.summary() == (
        "2 slower, 1 faster, 1 same, 1 undecided, 2 not compared; "
        "exact figures: 1 worse, 1 better; accuracy: 1 worse; status: 1 worse"
    )


def test_figures_that_agree_are_counted_too_and_a_comparison_without_latencies_says_so() -> None:
    alike = [
        Verdict(cell=cell("mhsa"), metric=name, outcome=Outcome.SAME, base=1, head=1) for name in ("macs", "params")
    ]
    assert Comparison(verdicts=tuple(alike)).summary() == "no latency to compare; exact figures: 2 same"


def test_counts_of_nothing_are_said_for_the_four_verdicts_only() -> None:
    assert Comparison(verdicts=(latency("mhsa", Outcome.SAME),)).summary() == "0 slower, 0 faster, 1 same, 0 undecided"


def test_both_forms_begin_with_the_summary() -> None:
    assert page_of(EVERYTHING).splitlines()[0].strip("*") == EVERYTHING.summary()
    assert " ".join(shown(EVERYTHING).split()).startswith(EVERYTHING.summary())


def test_the_screen_keeps_to_80_columns_and_cuts_no_verdict_and_no_interval() -> None:
    text = shown(EVERYTHING)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for whole in ("1.21 [1.19, 1.22]", "SLOWER", "FASTER", "NOT COMPARED", "-4.0 [-5.0, -3.0]"):
        assert whole in text


def test_what_a_measurement_could_have_found_stands_beside_its_verdict_in_80_columns() -> None:
    verdicts = tuple(replace(one, detectable=0.0634) if one.change else one for one in EVERYTHING.verdicts)
    found = replace(EVERYTHING, verdicts=verdicts)
    rows = [line for line in page_of(found).splitlines() if "UNDECIDED" in line]
    assert [row.rpartition("UNDECIDED")[2].strip("*| ") for row in rows] == ["6.34 %"]
    assert "the smallest slowdown that this measurement calls slower 90 times in 100" in page_of(found)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(screen(page(found)))
    assert "6.34 %" in console.export_text()
    assert "6.34 %" not in page_of(EVERYTHING)
    assert "smallest slowdown" not in page_of(EVERYTHING)


def test_cells_are_named_by_what_they_differ_in() -> None:
    text = page_of(EVERYTHING)
    assert "| swin, window=7 |" in text
    assert "| mhsa on digits |" in text
    assert "| swin, window=14 |" in text
    assert "### Latency: 224, backbone, infer, float32" in text


def test_resolutions_and_modes_are_named_where_they_differ() -> None:
    pair = (latency("mhsa", Outcome.SAME), latency("mhsa", Outcome.SAME, height=512, width=512, mode="train"))
    assert re.findall(r"\| (mhsa[^|]*) \|", page_of(Comparison(verdicts=pair))) == [
        "mhsa, 224, infer",
        "mhsa, 512, train",
    ]


def test_a_refusal_is_told_once_with_all_its_cells_and_both_values() -> None:
    text = page_of(EVERYTHING)
    assert text.count("2.11.0 / 2.12.0") == 1
    assert "latency of lavit; hmhsa: environments differ in software.torch: 2.11.0 / 2.12.0" in text


def test_a_change_too_small_for_three_digits_is_shown() -> None:
    assert "+1 (+3.5e-06 %)" in page_of(EVERYTHING)


def test_exact_figures_that_stayed_are_not_listed() -> None:
    assert "MACs per image" not in page_of(EVERYTHING)


def test_what_ceased_to_run_is_listed_with_its_reason() -> None:
    assert "lavit: ok before, out-of-memory now: worse (needs 9 GiB)" in page_of(EVERYTHING)


def test_cells_of_one_run_alone_are_listed() -> None:
    text = page_of(EVERYTHING)
    assert "### Only in base\n\n- performer" in text
    assert "### Only in head\n\n- linformer" in text


def test_a_plain_comparison_says_no_more_than_its_table_and_how_to_read_it() -> None:
    headings = re.findall("^### (.*)", page_of(Comparison(verdicts=(latency("mhsa", Outcome.SAME),))), re.MULTILINE)
    assert [heading.partition(":")[0] for heading in headings] == ["Latency", "How to read it"]


def test_a_runs_own_words_cannot_break_the_table() -> None:
    text = page_of(Comparison(verdicts=(latency("a|b`c`", Outcome.SAME),)))
    (row,) = [line for line in text.splitlines() if "SAME" in line]
    assert len(re.findall(r"(?<!\\)\|", row)) == 6


def test_the_bounds_shown_are_those_of_the_threshold() -> None:
    text = page_of(Comparison(verdicts=(latency("mhsa", Outcome.SAME),), threshold=0.1))
    assert "all of it above 1.1; faster: all of it below 0.9091" in text


def test_what_cells_differ_in_is_found_once_for_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    for name in ("_varying", "_differing"):
        found = getattr(naming, name)
        monkeypatch.setattr(naming, name, lambda cells, found=found: looked.append(len(cells)) or found(cells))
    named = naming.names([cell(height=side, options={"window": 7 + side % 2}) for side in range(1, 41)])
    assert list(named.values())[:2] == ["mhsa, window=8, 1x224", "mhsa, window=7, 2x224"]
    assert sum(looked) <= 2 * 40


@pytest.mark.parametrize(("head", "said"), [(2000, "+100 %"), (1123, "+12 %"), (21_000, "+2,000 %"), (1001, "+0.1 %")])
def test_changes_of_any_size_are_written_out_in_per_cent(head: int, said: str) -> None:
    assert f"({said})" in shown(Comparison(verdicts=(exact("macs", 1000, head, Outcome.WORSE),)))


def test_energies_have_a_table_of_their_own_and_count_in_the_first_line() -> None:
    energy = Verdict(
        cell=cell(), metric="energy_per_image_j", outcome=Outcome.WORSE, base=0.5, head=0.6,
        change=Estimate(value=1.2, low=1.15, high=1.25), reason="base was disturbed (heat)",
    )  # fmt: skip
    text = shown(Comparison(verdicts=(energy,)))
    assert "energy per image: 1 worse" in text.splitlines()[0]
    table = text[text.index("Energy per image") :]
    assert re.search(r"mhsa.* 500 mJ +600 mJ +1.20 \[1.15, 1.25\] +WORSE", table)
    assert "energy per image of mhsa" in text
    assert "| 1.20 \\[1.15, 1.25\\] |" in page_of(Comparison(verdicts=(energy,)))
