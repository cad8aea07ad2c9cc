"""How often the gate is right: ``attnbench compare --rerun`` of a layer whose work is known, many times.

    python tests/benchmarks/gate.py --runs 50 [--load] [--cache cold]

A layer does 80 products a call in base, and 80, 84, 88 or 96 in head: work added of 0, 5, 10 and 20 %. With warm
caches each product takes as long as any other (``proportional.py`` beside this shows it), and a call takes a little
beside them, which does not grow. Its share is measured on calls of one product and of 80, in the same conditions as
the comparisons, before each ten of them and after the last. So the ratio of times is known without comparing anything.
From cold caches a call's first products take longer too.

Each run takes blocks until they are enough, as a comparison does, in the process that a comparison has. Ten runs share
one, which spares the counts and checks of a cell nine times; all blocks are built anew.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import geometric_mean, quantiles
from typing import NamedTuple

from attnbench.axes import COLD, WARM
from attnbench.compare.blocks import TimedBlock, detectable, ratio_of_blocks
from attnbench.compare.together import Together
from attnbench.compare.verdict import THRESHOLD, Outcome, judge
from attnbench.probes.interval import Estimate
from attnbench.probes.load import one_core_busy
from attnbench.record import Cell, Scope
from attnbench.runs.job import Assignment, Settings

UNITS = 80
ADDED = (0.0, 0.05, 0.10, 0.20)
_A_PROCESS = 10
_BLOCKS = 24
LAYER = """
import torch

UNITS = {units}


class Known(torch.nn.Module):
    \"\"\"As much work as it is told.\"\"\"

    layout = "BHWC"

    def __init__(self, dim: int):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(dim, dim) / dim**0.5)

    def forward(self, x):
        for _ in range(UNITS):
            x = x @ self.weight
        return x
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one comparison gave."""

    ratio: Estimate
    detectable: float
    blocks: int
    seconds: float

    @property
    def outcome(self) -> Outcome:
        return judge(self.ratio, threshold=THRESHOLD)


def _written(top: Path, name: str, units: int) -> None:
    (top / name).mkdir()
    (top / name / "known.py").write_text(LAYER.format(units=units))


class BaseCall(NamedTuple):
    """A call of base, and the share of it that is not its products."""

    ns: float
    fixed: float


def blocks_of_calls(cache: str, *, blocks: int = _BLOCKS) -> list[TimedBlock]:
    """Return blocks of calls of one product, as base, and of all, as head."""
    with tempfile.TemporaryDirectory() as folder:
        _written(Path(folder), "base", 1)
        _written(Path(folder), "head", UNITS)
        with closing(_together(Path(folder), cache, max_time_s=10.0).blocks()) as timed:
            return list(islice(filter(None, timed), blocks))


def base_call(blocks: Sequence[TimedBlock]) -> BaseCall:
    """Return what a call of base is, from blocks of calls of one product and of all."""
    one, all_of_them = (geometric_mean(quantiles(each, n=4)[0] for each in times) for times in
                        ([block.base_ns for block in blocks], [block.head_ns for block in blocks]))  # fmt: skip
    each_ns = (all_of_them - one) / (UNITS - 1)
    return BaseCall(ns=all_of_them, fixed=(one - each_ns) / all_of_them)


def runs(count: int, *, added: float, load: bool, cache: str, max_time_s: float) -> tuple[list[Run], BaseCall]:
    """Compare a layer with itself with some work added, so many times, and print each ratio."""
    found: list[Run] = []
    calls: list[TimedBlock] = []
    with tempfile.TemporaryDirectory() as folder, one_core_busy() if load else nullcontext():
        top = Path(folder)
        for name, units in (("base", UNITS), ("head", round(UNITS * (1 + added)))):
            _written(top, name, units)
        while len(found) < count:
            calls += _called(cache)
            for run in _of_a_process(top, min(_A_PROCESS, count - len(found)), cache, max_time_s):
                found.append(run)
                _say(f"    {run.ratio.value:.4f} [{run.ratio.low:.4f}, {run.ratio.high:.4f}]")
        calls += _called(cache)
    return found, base_call(calls)


def _called(cache: str) -> list[TimedBlock]:
    blocks = blocks_of_calls(cache)
    call = base_call(blocks)
    _say(f"    a call takes {call.ns / 1e6:.2f} ms, {call.fixed:.2%} of which is not its products")
    return blocks


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # an interrupted series is not lost


def _together(top: Path, cache: str, max_time_s: float) -> Together:
    def assignment(name: str) -> Assignment:
        file = top / name / "known.py"
        size = {"scope": Scope.LAYER, "height": 64, "width": 64, "stage": 2, "dim": 192, "heads": 6, "depth": 1}
        return Assignment(cell=Cell(mechanism=f"{file}:Known", distribution="known.py 1", cache=cache, **size))

    return Together(
        assignments=(assignment("base"), assignment("head")),
        repository=top / "head",
        tree=top / "base",
        settings=Settings(max_time_s=max_time_s),
        log=top / "log",
        watcher=lambda _: None,
        module="attnbench.compare.joint",
    )


def _of_a_process(top: Path, count: int, cache: str, max_time_s: float) -> Iterator[Run]:
    together = _together(top, cache, max_time_s)
    with closing(together.blocks()) as timed:
        for _ in range(count):
            began = time.monotonic()
            blocks = together.enough_of(timed)
            yield Run(
                ratio=ratio_of_blocks(blocks),
                detectable=detectable(blocks, threshold=THRESHOLD),
                blocks=len(blocks),
                seconds=time.monotonic() - began,
            )


def _mean(found: list[Run]) -> float:
    return geometric_mean(run.ratio.value for run in found)


def summary(found: list[Run], *, added: float, fixed: float) -> str:
    """Return a line: what was said, how often the interval held the truth, and how wide it was.

    Args:
        found: comparisons.
        added: work in head, as a fraction of that in base.
        fixed: share of a call that is no work.
    """
    said = {outcome: sum(run.outcome is outcome for run in found) for outcome in Outcome}
    work = round(UNITS * (1 + added)) / UNITS
    truth = 1 + (work - 1) * (1 - fixed)
    others = [_mean(found[:place] + found[place + 1 :]) if len(found) > 1 else work for place in range(len(found))]
    of_truth = sum(run.ratio.low <= truth <= run.ratio.high for run in found)
    of_mean = sum(run.ratio.low <= mean <= run.ratio.high for run, mean in zip(found, others, strict=True))
    widths, least = (sorted(values)[len(found) // 2] for values in
                     ([run.ratio.half_width for run in found], [run.detectable for run in found]))  # fmt: skip
    blocks_each, seconds_each = (sum(values) / len(found) for values in
                                 ([run.blocks for run in found], [run.seconds for run in found]))  # fmt: skip
    return (
        f"{added:4.0%} added: {', '.join(f'{count} {outcome}' for outcome, count in said.items() if count)}; "
        f"{of_truth} of {len(found)} intervals hold {truth:.4f}, {of_mean} the mean of the others, {_mean(found):.4f}; "
        f"half-width {widths:.2%}, finds {least:.1%} (medians); "
        f"{blocks_each:.0f} blocks and {seconds_each:.0f} s each"
    )


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=50)
    options.add_argument("--load", action="store_true", help="keep one core busy")
    options.add_argument("--cache", choices=(WARM, COLD), default=WARM, help="what caches hold before a timed call")
    options.add_argument("--max-time", type=float, default=10.0)
    options.add_argument("--added", type=float, nargs="*", default=ADDED)
    asked = options.parse_args()
    loaded = "one core kept busy" if asked.load else "none kept busy"
    _say(f"{os.cpu_count()} cores, {loaded}, {asked.cache} caches, load before {os.getloadavg()[0]:.1f}")
    for share in asked.added:
        each, call = runs(asked.runs, added=share, load=asked.load, cache=asked.cache, max_time_s=asked.max_time)
        _say(f"a call takes {call.ns / 1e6:.2f} ms, {call.fixed:.2%} of which is not its products")
        _say(summary(each, added=share, fixed=call.fixed))
