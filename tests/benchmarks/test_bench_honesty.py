"""What it costs that timed calls are verified: at most a tenth of the first command's time.

Nothing turns verification off, so that its share is taken of a run's own time: phases that are there for nothing else,
and what is done around each timed call for nothing else. The caches would be filled in any case, and the machine's
limits measured once more after the run, as the roofs of the report need it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import pytest
from witnessed import ready

from attnbench import devices
from attnbench.plan.given import read_request
from attnbench.record import Record
from attnbench.runs import limits as machine_limits
from attnbench.runs import runner, session
from attnbench.runs.progress import Progress
from attnbench.worker.witness import Witness

ASKED = {"mechanisms": ["hmhsa", "qna"], "res": [224, 512]}
"""README's first command."""
HONEST = ("verifying", "measuring memory outside")
TIMING = ("warming up", "timing")
CALLS = 15


@pytest.mark.slow
def test_honesty_costs_the_first_command_a_tenth_of_its_time_at_most(tmp_path: Path) -> None:
    """9 % when it was measured last, on two cores of an Intel Xeon with nothing else to do."""
    request, settings = read_request(None, ASKED, threads=1)
    planned = session.plan(request, settings)
    spent: dict[str, float] = defaultdict(float)
    phase, since = "planning", time.monotonic()

    def watch(progress: Progress) -> None:
        nonlocal phase, since
        now = time.monotonic()
        spent[phase] += now - since
        phase, since = progress.phase, now

    started = time.monotonic()
    limits = machine_limits.measure(tmp_path, planned.cells, budget_s=machine_limits.EACH_S)
    records = list(runner.run(planned, settings=settings, folder=tmp_path, limits=limits, watcher=watch))
    watch(Progress(cells=(), phase="after the run"))
    machine_limits.measure_after(tmp_path, planned.cells, budget_s=machine_limits.EACH_S)
    watch(Progress(cells=(), phase="over"))
    whole_s = time.monotonic() - started

    in_phases = sum(spent[name] for name in HONEST)
    in_calls = sum(spent[name] for name in TIMING) * max(around_calls(record) for record in records)
    honest_s = in_phases + in_calls
    share = honest_s / (whole_s - honest_s)
    said = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in spent.items())
    print(f"\nhonesty: {share:.1%} of {whole_s:.0f} s; around calls {in_calls:.1f} s; {said}", end="")  # noqa: T201
    assert share < 0.1


def around_calls(record: Record) -> float:
    """Return the share of the time between two calls of a cell that goes to values, seeds and what is kept."""
    one = ready(record.cell)
    witness, device = Witness(one), devices.of(one.cell.device)
    flush, honest, whole = device.flusher(), 0.0, 0.0
    for _ in range(CALLS):
        start = time.perf_counter()
        witness.prepare()
        filled = time.perf_counter()
        flush()
        witness.call()
        called = time.perf_counter()
        witness.testify()
        end = time.perf_counter()
        honest += filled - start + end - called
        whole += end - start
    return honest / whole
