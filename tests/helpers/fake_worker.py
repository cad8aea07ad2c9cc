"""A worker without torch, whose cells do what their mechanism's name says. Run as the real one is."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from attnbench.runs.job import Job, Running


def main(job: Job, say, running: Running) -> None:
    say({"event": "environment", "environment": {"environment_id": "fake"}})
    left = []
    for index, assignment in enumerate(job.assignments):
        name = assignment.cell.mechanism
        say({"event": "phase", "cell": index, "phase": "building"})
        say({"event": "metrics", "cell": index, "phase": "counting", "metrics": {"macs": 1}})
        print(f"building {name}", flush=True)  # noqa: T201 - what a plugin might do
        act(name)
        if name == "unsupported":
            say({"event": "done", "cell": index, "status": "unsupported", "reason": "too odd", "metrics": {}})
        elif name == "tells-its-pid":
            say({"event": "done", "cell": index, "status": "failed", "reason": str(os.getpid()), "metrics": {}})
        elif name == "loses-the-device":
            say({"event": "done", "cell": index, "status": "failed", "reason": "illegal access", "metrics": {}})
            return
        else:
            left.append(index)
    say({"event": "phase", "cell": None, "phase": "timing"})
    for index in left:
        running.start(index)
        act(job.assignments[index].cell.mechanism.removeprefix("timed-"))
    running.stop()
    beside = len(job.assignments)
    for index in left:
        metrics = {"latency_median_s": 1.0, "latency_samples": beside}
        say({"event": "done", "cell": index, "status": "ok", "reason": "", "metrics": metrics})


def act(name: str) -> None:
    if name == "hang":
        time.sleep(3600)
    elif name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif name == "nameless-signal":
        os.kill(os.getpid(), signal.SIGRTMIN + 6)
    elif name == "exit":
        sys.exit("I had enough")
    elif name == "orphan":
        subprocess.Popen(["sleep", "3600"], close_fds=False)
    elif name == "slow":
        time.sleep(1.2)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    with os.fdopen(int(sys.argv[2]), "w", buffering=1) as pipe:
        main(Job.read(path), lambda event: print(json.dumps(event), file=pipe), Running(path.with_suffix(".running")))
