"""What a self-check found, beside the rows of a run: on its page, and only beside rows of its place."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attnbench.errors import UsageError
from attnbench.record import Cell, Record, Status
from attnbench.report.document import document
from attnbench.report.findings import Findings
from attnbench.report.page.markdown import markdown
from attnbench.selfcheck import kept
from attnbench.selfcheck.kept import KeptSelfcheck, TimingPlace
from attnbench.selfcheck.trials import Result, Trial, Way
from attnbench.store import Store


def trial(low: float, high: float) -> Trial:
    return Trial(truth=1, ratios=dict.fromkeys(Way, 1.0), low=low, high=high, seconds=1.0, accounted=0.98)


RESULT = Result(
    trials=(trial(0.9, 1.1), trial(0.99, 1.01), trial(1.01, 1.02)),
    loaded=False,
    device="cpu",
    threads=1,
    cache="cold",
    description="a layer",
    disturbances=(),
)


def row(*, threads: int = 1, hardware: str = "Xeon, 2 cores") -> Record:
    return Record(
        cell=Cell(mechanism="mhsa", height=224, width=224, threads=threads),
        status=Status.OK,
        metrics={"latency_median_s": 0.1, "latency_ci_low_s": 0.09, "latency_ci_high_s": 0.11},
        environment={"hardware": hardware, "environment_id": "e"},
    )


def page(records: Iterable[Record], *folders: Path) -> str:
    return markdown(document(Findings.of(list(records), folders), command="attnbench run"), Path())


def made(command: str = "attnbench selfcheck") -> KeptSelfcheck:
    return kept.made(RESULT, hardware="Xeon, 2 cores", command=command)


def test_the_page_of_a_run_says_how_often_intervals_held_the_truth_on_its_machine(tmp_path: Path) -> None:
    kept.keep(tmp_path, made())
    (found,) = kept.read(tmp_path)
    assert found == replace(made(), sha256=found.seal, taken_at=found.taken_at)
    assert f"Self-check: 2 of 3 of the 95 % intervals held the truth, cold caches, {found.taken_at[:10]}" in page(
        [row()], tmp_path
    )


@pytest.mark.parametrize("other", [{"threads": 2}, {"hardware": "EPYC, 2 cores"}])
def test_where_none_was_made_the_page_says_the_command_that_makes_it(other: dict[str, Any], tmp_path: Path) -> None:
    kept.keep(tmp_path, made())
    threads = other.get("threads", 1)
    told = f"Self-check: not made: attnbench selfcheck --device cpu --threads {threads} --keep FOLDER"
    assert told in page([row(**other)], tmp_path)
    assert told in page([row(**other)])


def test_each_of_several_machines_has_its_own(tmp_path: Path) -> None:
    kept.keep(tmp_path, made())
    lines = kept.said([row(), row(threads=2)], [tmp_path])
    assert [line.partition(" of 3")[0] for line in lines] == [
        "Xeon, 2 cores, cpu, threads 1: 2",
        "Xeon, 2 cores, cpu, threads 2: not made: attnbench selfcheck --device cpu --threads 2 --keep FOLDER",
    ]


def test_rows_without_times_need_none() -> None:
    counted = Record(cell=Cell(mechanism="mhsa", height=224, width=224), status=Status.OK, metrics={"macs": 1})
    assert "Self-check" not in page([counted])


def test_a_later_one_takes_the_place_of_an_earlier_one_and_one_under_load_stands_beside_it(tmp_path: Path) -> None:
    loaded = kept.made(replace(RESULT, loaded=True), hardware="Xeon, 2 cores", command="attnbench selfcheck --load")
    for one in (made("first"), loaded, made("second")):
        kept.keep(tmp_path, one)
    assert [one.command for one in kept.read(tmp_path)] == ["attnbench selfcheck --load", "second"]
    assert "one core kept busy" in str(loaded)


def test_it_is_not_kept_beside_rows_of_another_place(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.append(row(threads=2))
    kept.refuse_elsewhere(TimingPlace(hardware="Xeon, 2 cores", device="cpu", threads=2), tmp_path)
    with pytest.raises(UsageError, match=r"threads 2, and this is Xeon, 2 cores, cpu, threads 1; give its --device"):
        kept.refuse_elsewhere(TimingPlace(hardware="Xeon, 2 cores", device="cpu", threads=1), tmp_path)


def test_what_cannot_be_read_costs_a_warning_and_no_report(tmp_path: Path) -> None:
    (tmp_path / kept.SELFCHECK).write_text(json.dumps([{"held": 3}]))
    with pytest.warns(UserWarning, match="what the self-check found is not known"):
        assert "not made" in page([row()], tmp_path)
