"""The child that verifies what was timed: what calls returned, beside what their layers compute. A job in, events out.

Run as ``python -m attnbench.worker.referee JOB CHANNEL`` once the worker has ended, so that what a plugin did to that
process is gone with it. Beside the worker it looks like any other program that uses torch: a layer that looks for a
benchmark around it finds none here, and what it then computes is what it is held to.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from attnbench import devices, raised, runtimes
from attnbench.child import voice
from attnbench.child.spawned import THREADS
from attnbench.devices.machine import whole_cores
from attnbench.plan.sweep import again
from attnbench.runs.job import Assignment, Job
from attnbench.worker import events, halves, torch_state
from attnbench.worker.objection import Objection
from attnbench.worker.verification import Verification, verify
from attnbench.worker.witness import Evidence

_OURS = ("ATTNBENCH", "PYTEST", "COV_")
"""Starts of variables that would tell a layer where it is."""
_NAME = b"python3"


def judge(job: Job, say: events.Say) -> None:
    """Verify the cells of a job one by one."""
    first = job.assignments[0].cell
    device = devices.of(first.device)
    exacting = _exacting(job)
    gc.freeze()  # what torch and timm have made stays: looking through it takes a tenth of a second for each cell

    def verified(index: int) -> Verification:
        with torch_state.restored():
            return _verdict(job.assignments[index], job, exacting=index in exacting)

    others = halves.of_the_copy(job.assignments, exacting=exacting)
    device.set_up(threads=_threads(job, processes=2 if others else 1))
    with halves.verified(others, verified) as ask:
        for index, assignment in enumerate(job.assignments):
            events.enter(say, index)("verifying")
            found = ask(index) or verified(index)
            timed = _with_its_calls(assignment, found)
            say(events.judged(index, timed, [*assignment.objections, *found.objections], {"verified": found.said}))
            gc.collect()
            device.release()


def _threads(job: Job, *, processes: int) -> int:
    """Return the threads of copies: all that can run, since none of their calls is timed, but beside a plugin.

    A plugin that finds other threads here than where it was timed could tell the two processes apart.
    """
    threads = job.assignments[0].cell.threads
    if any(each.foreign for each in job.assignments):
        return threads
    return max(1, whole_cores() // processes) if processes > 1 else max(threads, whole_cores())


def _with_its_calls(assignment: Assignment, found: Verification) -> Assignment:
    """Return an assignment in whose calls those of its copies are counted too."""
    timed = dict(assignment.timed)
    if "running_s" in timed:
        timed["running_s"] = float(timed["running_s"] or 0) + found.running_s
    return replace(assignment, timed=timed)


def _exacting(job: Job) -> frozenset[int]:
    """Return the places of cells whose precision is looked at whatever that costs.

    These are all beside a plugin. Without one, what computes in fewer bits than its type has is the machine, which
    does so in every cell: the quickest of a run's first group shows it, and the others where it costs little.
    """
    cells = range(len(job.assignments))
    if any(each.foreign or each.cell.runtime != runtimes.TORCH for each in job.assignments):
        return frozenset(cells)
    if job.precise:
        return frozenset()
    return frozenset([min(cells, key=lambda index: float(job.assignments[index].timed.get("latency_median_s") or 0))])


def _verdict(assignment: Assignment, job: Job, *, exacting: bool) -> Verification:
    cell = assignment.cell
    taken_s, layer_s = (float(assignment.timed.get(name) or 0) for name in ("running_s", "latency_median_s"))
    call_s = layer_s * (cell.depth or 1)
    try:
        evidence = Evidence.read(Path(job.evidence) / cell.key)
        return verify(
            cell,
            evidence,
            seed=job.settings.seed,
            taken_s=taken_s,
            shown_by=again(cell),
            call_s=call_s,
            exacting=exacting,
        )
    except Exception as error:  # a plugin may raise anything, and evidence may be anything
        said = raised.in_words(error, most=300)
        doubt = Objection(said=f"its timed calls could not be verified: {said}", sure=False)
        return Verification(said=f"none: {said}", objections=(doubt,))


def _be_inconspicuous() -> None:
    """Look like any other program: no variables, no arguments and no name that say what this one is."""
    for name in [name for name in os.environ if name.startswith(_OURS) or name in THREADS]:
        del os.environ[name]
    sys.argv = [""]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return  # not Linux
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, of which the first two fields are cut off
    if end - start > len(_NAME):
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, _NAME, len(_NAME))


def main(job: Path, channel: int) -> None:
    """Judge a job, saying what happens on the channel to the parent."""
    asked, say = Job.read(job), voice.opened(channel)
    _be_inconspicuous()
    judge(asked, say)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.flush()
    os._exit(0)  # all is said; a thread that a plugin left behind would keep the runner waiting
