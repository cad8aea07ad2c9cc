"""A history of 3,000 rows in which it is known what changed, and what is never compared in one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import many_runs
import pytest
from click.testing import CliRunner

from attnbench.cli.main import attnbench
from attnbench.compare.verdict import Outcome
from attnbench.errors import StoreError, UsageError
from attnbench.history import source, words
from attnbench.history.account import History, history
from attnbench.record import Record, Status
from attnbench.report.page.markdown import markdown

CELLS, RUNS = 30, 100
SLOWER = {(3, 70): 1.2, (12, 80): 0.85, (20, 15): 1.15}
MACS = {(5, 40): 2 * 10**6, (6, 90): 10**5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("history")
    many_runs.write(path, many_runs.records(CELLS, RUNS, slower=SLOWER, macs=MACS))
    return path


@pytest.fixture(scope="module")
def found(folder: Path) -> History:
    return history(source.read([folder]))


def test_what_changed_is_found_between_its_commits_and_nothing_else(found: History) -> None:
    timed = [change for change in found.changes if change.trend.metric == "latency_median_s"]
    placed = {(change.trend.cell.key, change.first_after.revision.commit): change.outcome for change in timed}
    cells, hash_of = many_runs.cells(CELLS), many_runs.commit
    assert placed == {
        (cells[3].key, hash_of(70)): Outcome.SLOWER,
        (cells[12].key, hash_of(80)): Outcome.FASTER,
        (cells[20].key, hash_of(15)): Outcome.SLOWER,
    }
    for change in timed:
        (by,) = [by for (own, _), by in SLOWER.items() if cells[own] == change.trend.cell]
        assert change.ratio is not None
        assert change.ratio.low < by < change.ratio.high
        assert change.chance < 0.01


def test_exact_figures_are_compared_from_run_to_run_on_any_machine(found: History) -> None:
    counted = [change for change in found.changes if change.trend.is_exact]
    told = {(change.first_after.revision.commit, change.outcome, words.size(change)) for change in counted}
    assert told == {
        (many_runs.commit(40), Outcome.WORSE, "+1,000,000 (+100 %)"),
        (many_runs.commit(90), Outcome.BETTER, "-900,000 (-90 %)"),
    }


def test_a_slower_machine_is_no_change_and_a_trend_of_its_own(found: History) -> None:
    assert {trend.machine for trend in found.trends if not trend.is_exact} == {"fast (e1f0)", "slow (0a7c)"}


def test_the_latest_comes_first_and_the_conclusion_counts(found: History) -> None:
    times = [change.first_after.revision.at for change in found.changes]
    assert times == sorted(times, reverse=True)
    assert words.conclusion(found).startswith("2 slower, 1 faster, 1 worse, 1 better: 30 cells over 100 revisions, ")


def test_doubted_and_failed_rows_are_left_out_and_said() -> None:
    made = many_runs.records(1, 60)
    for place in (50, 52, 53, 54, 55, 56):
        made[place] = [many_runs.doubted(row) for row in made[place]]
    made[57] = [replace(row, status=Status.REJECTED, reason="wrong answers") for row in made[57]]
    found = history([row for rows in made.values() for row in rows])
    assert found.changes == ()
    assert found.left_out == {"suspicious": 6, "rejected": 1}
    assert [words.ended_as(change) for change in found.status_changes] == ["runs again", "fails"]


def ending(made: dict[int, list[Record]], cell: int, places: range, status: Status, reason: str) -> None:
    """Let a cell end some other way, in a worker that died before it said on what it ran."""
    for place in places:
        row = made[place][cell]
        environment = {"code": row.environment["code"]}
        made[place][cell] = replace(row, status=status, reason=reason, metrics={}, environment=environment)


def all_of(made: dict[int, list[Record]]) -> list[Record]:
    return [row for rows in made.values() for row in rows]


def test_a_cell_that_starts_to_fail_runs_again_or_is_gone_is_a_change_between_its_commits() -> None:
    made = many_runs.records(4, 12)
    ending(made, 0, range(9, 12), Status.FAILED, "no kernel")
    ending(made, 1, range(6, 9), Status.TIMEOUT, "counting took 300 s")
    for place in range(10, 12):
        del made[place][2]
    found = history(all_of(made))
    told = {(words.ended_as(one), one.cell.mechanism, one.since.commit, one.now) for one in found.status_changes}
    assert told == {
        ("gone", "m2", many_runs.commit(10), "no row"),
        ("fails", "m0", many_runs.commit(9), "failed"),
        ("runs again", "m1", many_runs.commit(9), "ok"),
        ("fails", "m1", many_runs.commit(6), "timeout"),
    }
    assert {one.machine for one in found.status_changes} == {"fast"}
    assert words.conclusion(found).startswith("0 slower, 0 faster, 2 fails, 1 runs again, 1 gone: 4 cells over 12 ")
    changes = words.plain(found)["status_changes"]
    assert changes[0]["after"]["commit"] == many_runs.commit(9)
    assert {one["reason"] for one in changes} == {None, "no kernel", "counting took 300 s"}
    said = markdown(words.page(found), Path())
    for expected in ("ok to no row | **GONE**", "ok to failed | **FAILS**", "m0: no kernel", "timeout to ok"):
        assert expected in said


def test_a_run_of_another_sweep_says_nothing_of_cells_that_it_does_not_have() -> None:
    made = many_runs.records(6, 12)
    made[11] = made[11][:2]
    assert not history(all_of(made)).status_changes
    made[11] = many_runs.records(6, 12)[11][:3]
    assert {one.now for one in history(all_of(made)).status_changes} == {"no row"}


def test_a_version_of_its_plugin_makes_no_other_cell_and_is_said_beside_the_change() -> None:
    made = many_runs.records(1, 20, macs={(0, 10): 7})
    rows = [
        replace(row, cell=replace(row.cell, distribution=f"mine {1 + (place >= 10)}.0"))
        for place, of_run in made.items()
        for row in of_run
    ]
    (change,) = history(rows).changes
    assert change.versions == ("plugin: mine 1.0 before, mine 2.0 after",)


def test_without_commits_runs_are_in_the_order_of_their_time() -> None:
    rows = [
        replace(row, environment={}, started_at=f"2026-01-{20 - place:02}T00:00:00+00:00")
        for place, of_run in many_runs.records(1, 9).items()
        for row in of_run
    ]
    assert [one.name for one in history(rows).revisions] == [f"run-{place}" for place in range(8, -1, -1)]


def test_what_cannot_be_followed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        source.read([tmp_path])
    with pytest.raises(UsageError, match="no figure of the 0 rows"):
        history([])
    with pytest.raises(UsageError, match="--threshold 5"):
        history([], threshold=5)


def test_the_command_shows_writes_and_prints(folder: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(
        attnbench, ["history", str(folder), "--out", str(tmp_path), "--markdown", str(tmp_path / "said.md")]
    )
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("2 slower, 1 faster, 1 worse, 1 better: ")
    said = [line for line in shown.output.splitlines() if not line.startswith(str(tmp_path))]
    assert max(map(len, said)) <= 80
    assert "**SLOWER**" in (tmp_path / "said.md").read_text()
    assert "connect-src" not in (tmp_path / "history.html").read_text(encoding="utf-8")
    printed = json.loads(CliRunner().invoke(attnbench, ["history", str(folder), "--json"]).output)
    assert len(printed["changes"]) == 5
    assert {one["metric"] for one in printed["trends"]} == {"latency_median_s", "macs", "memory_peak_bytes"}
