"""From claims to the cells of one sweep."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_up_claims import claim

from attnbench.claims import plan
from attnbench.claims.claim import Check, Take
from attnbench.claims.plan import Means
from attnbench.errors import UsageError


def test_a_check_becomes_its_cells_and_a_ratio_those_of_both_sides() -> None:
    check = Check.of(
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


def test_what_killed_the_process_that_looked_at_it_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "killer.py").write_text("import os; os._exit(7)")
    killer = Check(mechanism=f"{tmp_path}/killer.py:Mine", metric="macs", scope="layer")
    sound = Check(mechanism="swin", metric="macs", scope="layer")
    found = plan.plan([killer, sound], Means(device="cpu"))
    (point,) = found.points[killer]
    status, reason = found.sweep.endings[point.of.key]
    assert (status, reason) == ("crashed", "the process ended with status 7 while loading")
    assert list(found.sweep.endings) == [point.of.key]


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
            Check.of(mechanism="a", metric="macs", scope="layer", stage=("1", "2"), mode=("train",)),
            "--mechanisms a --scope layer --stage 1,2 --depth 1 --res 224 --mode train --baseline none --until counts",
        ),
        (
            Check(mechanism="a", over="b", metric="energy_per_image_j", scope="backbone"),
            "--mechanisms a,b --scope backbone --res 224 --energy",
        ),
        (
            Check(network="a", metric="accuracy_top1", scope="network"),
            "--networks a --checkpoint a=FILE --accuracy folder:PATH",
        ),
    ],
)
def test_the_command_that_measures_the_same_is_said(check: Check, typed: str) -> None:
    assert plan.command(check) == f"attnbench run {typed}"


def test_an_absolute_time_is_measured_on_the_claims_hardware_alone_and_a_ratio_anywhere() -> None:
    absolute = Check(mechanism="a", metric="latency_median_s", scope="layer")
    ratio = replace(absolute, over="b")
    claims = [claim(check=check, hardware="V100") for check in (absolute, ratio)]
    assert plan.checks_of(claims, "", Means()) == [ratio]
    assert plan.checks_of(claims, "Tesla V100", Means()) == [absolute, ratio]


def test_a_device_that_is_not_there_is_an_error_before_anything_runs() -> None:
    check = Check(mechanism="swin", metric="macs", scope="layer")
    with pytest.raises(UsageError, match="--device 'tpu': torch sees"):
        plan.plan([check, replace(check, axes=(("stage", ("1",)),))], Means(device="tpu"))


def test_checks_that_need_more_than_is_asked_for_are_left_out() -> None:
    counts, peak, time = (
        Check(mechanism="swin", over="mhsa", metric=metric, scope="layer")
        for metric in ("macs", "memory_peak_bytes", "latency_median_s")
    )
    claims = [claim(check=check) for check in (counts, peak, time)]
    assert plan.checks_of(claims, "", Means(until="counts")) == [counts]
    assert plan.checks_of(claims, "", Means(until="memory")) == [counts, peak]
    assert plan.checks_of(claims, "", Means()) == [counts, peak, time]
