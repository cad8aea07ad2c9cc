"""Cells chosen at random, measured again here: do they agree?

What is deterministic must agree to the last digit, ratios to the baseline by their intervals on the same hardware, and
times where the environment is the same.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from attnbench.child.scratch import scratch
from attnbench.compare.pairing import Pair, match
from attnbench.compare.runs import ComparedRun, LatencyRatio, compare_matched, ratio_of_runs
from attnbench.compare.verdict import THRESHOLD, Outcome, judge, ratio_of
from attnbench.metrics import METRICS, is_number
from attnbench.plan.sweep import Sweep
from attnbench.probes.interval import Estimate
from attnbench.reading import MisreadError, structured
from attnbench.record import Cell, Record, Status, Task
from attnbench.runs import runner
from attnbench.runs.job import Settings
from attnbench.runs.rows import SAMPLES
from attnbench.verify.finding import Place, Tally
from attnbench.verify.here import ThisMachine
from attnbench.verify.kept import KeptLine, KeptRun
from attnbench.verify.samples import Timed

_RATIO = "latency_ratio"
_SAME_HARDWARE = ("hardware",)
_DISAGREE = (Outcome.SLOWER, Outcome.FASTER, Outcome.WORSE, Outcome.BETTER)


def check(
    kept: KeptRun,
    timed: Mapping[str, Timed],
    here: ThisMachine,
    tally: Tally,
    *,
    cells: int,
    rng: random.Random | None = None,
    worker_module: str = "attnbench.worker.main",
) -> None:
    """Measure some cells of a run again, each beside its baseline, and set the two against each other.

    Args:
        kept: the run.
        timed: its timed rows with their calls.
        here: this machine.
        tally: collects what is found.
        cells: how many, at most.
        rng: chooses them; unforeseeable by default.
        worker_module: module that does the work.
    """
    chosen = _choose(kept, timed, here, tally, cells=cells, rng=rng or random.SystemRandom())
    for settings, lines in _by_settings(chosen).items():
        sweep = _sweep([(line.record.cell, _baseline(kept, timed, line)) for line in lines])
        with scratch() as folder:
            (Path(folder) / SAMPLES).mkdir()
            found = runner.run(sweep, settings=settings, folder=Path(folder), worker_module=worker_module)
            again = {record.cell.key: record for record in found}
            for line in lines:
                _agree(line, again[line.record.cell.key], kept.folder, Path(folder), tally)


def _choose(
    kept: KeptRun, timed: Mapping[str, Timed], here: ThisMachine, tally: Tally, *, cells: int, rng: random.Random
) -> list[KeptLine]:
    ended_ok = [line for line in kept.latest.values() if line.record.status is Status.OK and line.timed]
    measurable = []
    for line in ended_ok:
        reason = here.why_not_timed(line.record.cell)
        if reason:
            tally.skip("cells that cannot be measured here", reason)
        elif timed.get(line.record.cell.key) is not None:
            measurable.append(line)
    if not measurable:
        tally.skip("--again", "no cell of the run can be measured here")
    return rng.sample(measurable, min(cells, len(measurable)))


def _by_settings(lines: Sequence[KeptLine]) -> dict[Settings, list[KeptLine]]:
    found: dict[Settings, list[KeptLine]] = {}
    for line in lines:
        found.setdefault(_settings(line), []).append(line)
    return found


def _settings(line: KeptLine) -> Settings:
    """Return how a row was measured, as usual where it does not say."""
    try:
        return structured(line.record.settings, Settings)
    except MisreadError:
        return Settings()


def _baseline(kept: KeptRun, timed: Mapping[str, Timed], line: KeptLine) -> Cell | None:
    row = kept.latest.get(timed[line.record.cell.key].baseline)
    return row.record.cell if row else None


def _sweep(pairs: Sequence[tuple[Cell, Cell | None]]) -> Sweep:
    cells: dict[str, Cell] = {}
    baselines: dict[str, str] = {}
    for cell, baseline in pairs:
        if baseline is not None:
            baselines[cell.group] = baseline.key
            cells[baseline.key] = baseline
        cells[cell.key] = cell
    return Sweep(cells=tuple(replace(cell, task=Task.COST) for cell in cells.values()), baselines=baselines)


def _agree(line: KeptLine, again: Record, kept: Path, folder: Path, tally: Tally) -> None:
    place = Place(file=line.place.file, row=f"{line.place.row}, measured again")
    tally.compare(place, "status", kept=line.record.status.value, found=again.status.value)
    if again.status is not Status.OK:
        tally.wrong(place, "reason", kept=line.record.reason, found=again.reason)
        return
    before = ComparedRun(records=(line.record,), samples=kept / SAMPLES)
    now = ComparedRun(records=(again,), samples=folder / SAMPLES)
    _verdicts(before, now, place, tally)
    _ratios(line.record, again, place, tally)


def _verdicts(before: ComparedRun, now: ComparedRun, place: Place, tally: Tally) -> None:
    """Note what the comparison of two runs says of what is exact, and of times where the environments agree."""
    (base,), (head,) = before.records, now.records
    seconds = before.seconds(base), now.seconds(head)

    def ratio(pair: Pair) -> LatencyRatio | None:
        old, new = seconds
        return None if old is None or new is None else ratio_of_runs(pair, old, new)

    for verdict in compare_matched(match([base], [head]), ratio=ratio).verdicts:
        if verdict.outcome is Outcome.NOT_COMPARED:
            tally.skip(f"{verdict.metric}, measured again", verdict.reason)
        elif verdict.outcome is Outcome.UNDECIDED:
            tally.skip(f"{verdict.metric}, measured again", f"the interval reaches over {THRESHOLD:.0%}: undecided")
        else:
            agree = verdict.outcome not in _DISAGREE
            found = f"{verdict.head} ({verdict.outcome})"
            tally.demand(agree, place, verdict.metric, kept=verdict.base, found=found)


def _ratios(kept: Record, again: Record, place: Place, tally: Tally) -> None:
    before, now = _estimate(kept), _estimate(again)
    if before is None or now is None:
        return
    elsewhere = [name for name in _SAME_HARDWARE if kept.environment.get(name) != again.environment.get(name)]
    if elsewhere:
        ratios = f"{before.value:.3g} there and {now.value:.3g} here"
        tally.skip(f"{_RATIO}, measured again", f"other hardware: {ratios}, {again.environment.get(elsewhere[0])}")
        return
    outcome = judge(ratio_of(now, before), threshold=THRESHOLD)
    if outcome is Outcome.UNDECIDED:
        tally.skip(f"{_RATIO}, measured again", f"the interval reaches over {THRESHOLD:.0%}: undecided")
    else:
        tally.demand(outcome is Outcome.SAME, place, _RATIO, kept=_said(before), found=_said(now))


def _estimate(record: Record) -> Estimate | None:
    values = [record.metrics.get(name) for name in (_RATIO, *METRICS[_RATIO].ends)]
    value, low, high = values
    if not (is_number(value) and is_number(low) and is_number(high)):
        return None
    return Estimate(value=value, low=low, high=high)


def _said(estimate: Estimate) -> str:
    return f"{estimate.value:.4g} [{estimate.low:.4g}, {estimate.high:.4g}]"
