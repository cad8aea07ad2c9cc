"""Who is taken within a budget, how sure that is, and what would change it."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from records_for_reports import BUILT_IN, failed, row, with_accuracy

from attnbench.advice import plain, words
from attnbench.advice.choice import Advice, Keeps, Sure, advise
from attnbench.advice.question import Limit, Price, Question
from attnbench.record import Cell, Scope
from attnbench.report.comparison import prepared
from attnbench.report.findings import Findings
from attnbench.report.page.blocks import Paragraph, pieces


def findings(*rows: dict[str, Any]) -> Findings:
    given = rows or tuple(row(name, size) for size in (224, 384, 512) for name in BUILT_IN)
    return Findings(rows=prepared(pd.DataFrame([{"cell_key": f"key{at}"} | each for at, each in enumerate(given)])))


def asked(size: int = 224, **more: Any) -> Question:
    limits = tuple(Limit(metric=metric, value=value) for metric, value in more.pop("limits", {}).items())
    return Question(height=size, width=size, limits=limits, **more)


def answer(question: Question, found: Findings | None = None) -> Advice:
    (one,) = advise(found or findings(), question)
    return one


def said(question: Question, found: Findings | None = None) -> str:
    own = found or findings()
    page = words.page(advise(own, question), question, constants=(), commands="attnbench run")
    return "\n".join("".join(p.text for p in pieces(block.words)) for block in page if isinstance(block, Paragraph))


def test_the_best_and_the_runner_up_are_those_of_the_table() -> None:
    found = answer(asked())
    assert found.choice
    assert found.runner_up
    assert (found.choice.label, found.runner_up.label, found.sure) == ("qna", "hmhsa", Sure.CERTAIN)
    assert "Take qna: latency 12.5 ms [12.3, 12.7]." in said(asked())


def test_a_fit_is_certain_only_where_an_interval_says_so() -> None:
    limited = asked(limits={"latency_median_s": 1.0})
    assert "That it fits is certain." in said(limited)
    one = row("qna", 224) | {"latency_ci_low_s": None, "latency_ci_high_s": None}
    assert "That it fits is not certain: latency has no interval." in said(limited, findings(one))
    assert "That it fits is certain." in said(asked(limits={"params": 1e12}))  # which is counted, and exact


def test_a_limit_leaves_out_who_does_not_keep_it() -> None:
    least = row("hmhsa", 224)["params"]
    found = answer(asked(goal="params", limits={"latency_median_s": 1e-9}))
    assert found.choice is None
    assert found.nearest
    assert found.nearest.contender.label == "qna"
    assert found.changes == ("with latency at most 12.5 ms, qna would fit",)
    capped = answer(asked(goal="latency_median_s", limits={"params": least}))
    assert capped.choice
    assert capped.choice.label == "qna"


def test_an_interval_that_reaches_past_a_limit_is_no_certainty() -> None:
    latency = row("qna", 224)["latency_median_s"]
    inside = answer(asked(limits={"latency_median_s": 1.005 * latency}))
    assert inside.choice
    assert inside.choice.kept == (Keeps.AS_MEASURED,)
    assert "that it fits is not certain" in said(asked(limits={"latency_median_s": 1.005 * latency}))
    outside = answer(asked(limits={"latency_median_s": 0.995 * latency}))
    assert outside.choice is None


def test_an_order_is_certain_by_the_ratios_of_one_run_and_only_likely_where_it_was_read_off() -> None:
    near = row("swin", 224, latency_median_s=0.0126, latency_ratio=0.80)
    near |= {"latency_ci_low_s": 0.0124, "latency_ci_high_s": 0.0128}
    far = near | {"latency_ratio_ci_low": 0.795, "latency_ratio_ci_high": 0.805}
    touching = near | {"latency_ratio_ci_low": 0.77, "latency_ratio_ci_high": 0.805}
    assert answer(asked(), findings(row("qna", 224), far)).sure is Sure.CERTAIN
    assert answer(asked(), findings(row("qna", 224), touching)).sure is Sure.UNDECIDED
    found = answer(asked(448))
    assert found.choice
    assert (found.choice.label, found.sure) == ("qna", Sure.LIKELY)
    assert "apart by their curves, not measured there" in said(asked(448))


def test_accuracy_is_kept_from_below() -> None:
    frame = with_accuracy(pd.DataFrame([row(name, 224) for name in BUILT_IN]))
    own = Findings(rows=prepared(frame.assign(cell_key="key")))
    found = answer(asked(limits={"accuracy_top1": 0.81}), own)
    assert found.choice
    assert found.choice.label == "hmhsa"
    assert "with top-1 accuracy at least 80.7 %, qna would be taken" in found.changes


def test_who_failed_or_is_doubted_is_left_out_with_the_reason() -> None:
    found = answer(
        asked(),
        findings(
            row("mhsa", 224), row("qna", 224, suspicious="too fast"), failed("lavit", 224, "timeout", "no answer")
        ),
    )
    assert found.choice
    assert found.choice.label == "mhsa"
    assert found.left_out == {"qna": "not ranked: too fast", "lavit": "timeout: no answer"}


def test_each_set_of_conditions_has_its_answer_and_one_can_be_asked_for() -> None:
    own = findings(row("qna", 224, device="cpu"), row("qna", 224, device="cuda", hardware="NVIDIA H100"))
    assert [each.conditions[0] for each in advise(own, asked())] == ["cpu", "cuda"]
    (one,) = advise(own, asked(under="CUDA"))
    assert one.conditions[0] == "cuda"
    assert advise(own, asked(under="tpu")) == []


def test_a_price_gives_dollars_for_a_million_images_of_the_machines_that_it_names_dated() -> None:
    price = Price(machine="h100", dollars_per_hour=3.6, on="2026-01-02")
    own = findings(row("qna", 224, scope="backbone", batch=2, hardware="NVIDIA H100", latency_median_s=0.02))
    found = answer(asked(prices=(price,)), own)
    assert found.choice
    assert found.choice.dollars == {"h100": pytest.approx(10.0)}
    assert "10.00 $ for a million images at 3.6 $ an hour, as given on 2026-01-02" in said(asked(prices=(price,)), own)
    elsewhere = answer(asked(prices=(price,)), findings(row("qna", 224, scope="backbone", batch=2)))
    layer = answer(asked(prices=(price,)), findings(row("qna", 224, scope="layer", hardware="H100")))
    assert elsewhere.choice
    assert layer.choice
    assert elsewhere.choice.dollars == layer.choice.dollars == {}


def test_as_data_it_says_the_same() -> None:
    question = asked(448, limits={"memory_peak_bytes": 1e12})
    found = json.loads(
        json.dumps(plain.plain(advise(findings(), question), question, constants=("infer",), commands="attnbench run"))
    )
    (one,) = found["answers"]
    assert (one["choice"]["label"], one["runner_up"]["label"], one["order"]) == ("qna", "swin", "likely")
    assert one["choice"]["keeps"] == {"memory_peak_bytes": "yes"}
    latency = one["choice"]["figures"]["latency_median_s"]
    assert latency["read_off_between"] == ["384", "512"]
    assert latency["interval_95"][0] < latency["value"] < latency["interval_95"][1]
    assert len(latency["cell_keys"]) == 2


def test_what_is_named_and_was_read_off_is_measured_by_a_command_of_its_own_options_and_conditions() -> None:
    cells = {
        f"{name}-{size}": Cell(
            mechanism=name, options=options, scope=Scope.LAYER, stage=2, batch=8, height=size, width=size
        )
        for size in (224, 512)
        for name, options in (("qna", {"window": 5}), ("mhsa", {"backend": "sdpa"}))
    }
    own = findings(*(row(cell.mechanism, cell.height, cell_key=key) for key, cell in cells.items()))
    between, measured = asked(384), asked(224)
    assert words.command(advise(own, between), cells, between) == (
        "attnbench run --mechanisms qna:window=5,mhsa:backend=sdpa --scope layer --res 384x384 --stage 2 --batch 8"
        " --device cpu --threads 1"
    )
    assert words.command(advise(own, measured), cells, measured) == ""
    beyond = asked(1024)
    assert "--res 1024x1024" in words.command(advise(own, beyond), cells, beyond)


def test_a_price_that_is_of_no_model_of_the_rows_is_said_to_tell_nothing() -> None:
    prices = tuple(Price(machine=name, dollars_per_hour=1, on="2026-01-01") for name in ("xeon", "h100"))
    text = said(asked(prices=prices))
    assert "No model here was timed on hardware whose name has 'h100'" in text
    assert "'xeon'" not in text
    layers = findings(*(row(name, scope="layer") for name in BUILT_IN))
    assert "'xeon' (a layer is no model)" in said(asked(prices=prices), layers)


def test_what_is_far_over_a_limit_is_so_many_times_the_limit() -> None:
    assert "12.5 times the limit" in said(asked(limits={"latency_median_s": 0.001}))
