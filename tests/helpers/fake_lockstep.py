"""A child of rerun without torch. The mechanism's file, as its revision has it, says in JSON how the child behaves."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from attnbench.child import voice
from attnbench.runs.job import Job


def main(job: Job, turns, say) -> None:
    cell = job.assignments[0].cell
    acts = json.loads(Path(cell.mechanism.rpartition(":")[0]).read_text())
    say({"event": "environment", "environment": {"environment_id": "fake", "torch_version": "0"}})
    if "fails" in acts:
        say({"event": "done", "status": "failed", "reason": acts["fails"]})
        return
    known = {name: value for name, value in cell.options.items() if name in acts.get("knows", ())}
    say({"event": "options", "options": acts.get("options", known)})
    if "counting" not in job.assignments[0].phases_done:
        say({"event": "phase", "phase": "counting"})
        say({"event": "metrics", "phase": "counting", "metrics": {"macs": acts["macs"], "params": os.getpid()}})
    say({"event": "ready", "layers": 1, "shortest_ns": 50_000})
    for taken, turn in enumerate(turns):
        if taken == acts.get("dies_after"):
            sys.stderr.write("no more of this\n")
            os.kill(os.getpid(), acts.get("signal", signal.SIGTERM))
        if taken == acts.get("hangs_after"):
            time.sleep(3600)
        say({"event": "sample", "ns": int(turn) * round(acts["ns"] * drift()), "host_ns": 1})


def drift() -> float:
    """Return how slow the machine is at this moment: between once and twice as slow, the same for every process."""
    return 1 + abs(time.monotonic() % 40 - 20) / 20


if __name__ == "__main__":
    path = Path(sys.argv[1])
    with path.with_name("turns").open() as commands:
        main(Job.read(path), commands, voice.opened(int(sys.argv[-1])))
