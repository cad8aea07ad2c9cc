"""Parameters, multiply-adds and least bytes, counted again in a child process where what they are of is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from attnbench.axes import AXES, DEFAULTS
from attnbench.child.scratch import scratch
from attnbench.compare.pairing import flat
from attnbench.devices import names
from attnbench.metrics import METRICS, Compared
from attnbench.plan.sweep import Sweep
from attnbench.record import Cell, Record, Status, Task
from attnbench.runs import runner
from attnbench.runs.job import Settings
from attnbench.verify.finding import Tally
from attnbench.verify.here import ThisMachine
from attnbench.verify.kept import KeptLine, KeptRun

_COUNTERS = ("torch_version", "software.fvcore")
"""What the words about counters depend on."""
_LATER = ("ops_elementwise", "activations")
"""Metrics that rows of earlier versions do not have."""


def check(kept: KeptRun, here: ThisMachine, tally: Tally) -> None:
    """Count every row again that can be, and set what was kept against it."""
    lines = list(_countable(kept, here, tally))
    asked = [question(line.record.cell) for line in lines]
    again = _count({cell.key: cell for cell in asked})
    for line, cell in zip(lines, asked, strict=True):
        _compare(line, again[cell.key], tally)


def question(cell: Cell) -> Cell:
    """Return the cell that asks for a cell's counts and nothing else: neither device nor threads change them."""
    asked = {name for axis in AXES.values() if axis.counted or axis.moved for name in axis.fields}
    others = {name: default for name, default in DEFAULTS.items() if name not in asked | {"height", "width"}}
    return replace(cell, **others | {"device": names.HOST, "threads": 1, "task": Task.COUNTS})


def _countable(kept: KeptRun, here: ThisMachine, tally: Tally) -> Iterator[KeptLine]:
    for line in kept.latest.values():
        if not line.counted:
            continue
        reason = here.why_not_built(line.record.cell)
        if reason:
            tally.skip("parameters, multiply-adds and least bytes, counted again", reason)
        else:
            yield line


def _count(cells: Mapping[str, Cell]) -> Mapping[str, Record]:
    sweep = Sweep(cells=tuple(cells.values()), baselines={})
    with scratch() as folder:
        found = runner.run(sweep, settings=Settings(), folder=Path(folder))
        return {record.cell.key: record for record in found}


def _compare(line: KeptLine, again: Record, tally: Tally) -> None:
    kept, place = line.record, line.place
    if again.status is not Status.OK:
        tally.wrong(place, "params", kept=kept.metrics["params"], found=f"{again.status.value}: {again.reason}")
        return
    before, now = flat(kept.environment), flat(again.environment)
    for name, value in again.metrics.items():
        if name in _LATER and name not in kept.metrics:
            tally.skip(name, "the version that kept the row did not count it")
            continue
        metric = METRICS[name]
        depends_on = metric.depends_on if metric.compared is Compared.EXACT or metric.unit else _COUNTERS
        differing = [each for each in depends_on if before.get(each) != now.get(each)]
        if differing:
            tally.skip(name, f"{differing[0]} is {now.get(differing[0])} here, and not {before.get(differing[0])}")
        else:
            tally.compare(place, name, kept=kept.metrics.get(name), found=value)
