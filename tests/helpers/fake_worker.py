"""A worker without torch, whose cells do what their mechanism's name says. Run as the real one is."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from attnbench.child import voice
from attnbench.runs.job import Job, Running

SAYS = {
    "cell-99": {"event": "done", "cell": 99, "status": "ok", "reason": "", "metrics": {}},
    "cell-minus-1": {"event": "metrics", "cell": -1, "phase": "counting", "metrics": {}},
    "no-status": {"event": "done", "cell": 0, "status": "fine", "reason": "", "metrics": {}},
    "another-cell-again": {"event": "done", "cell": 0, "status": "failed", "reason": "", "metrics": {}},
}


ROOM = 4
"""What there is room for in a process, in units of its own: ``holds-3`` takes three of them, ``kills-3`` too."""


def takes(name: str, held: list[int], say, index: int) -> bool:
    """Return whether a cell finds room beside those that hold some, and end it or the process if not."""
    units = int(name.rpartition("-")[2])
    if sum(held) + units <= ROOM:
        held.append(units)
        return True
    if name.startswith("kills-"):
        os.kill(os.getpid(), signal.SIGKILL)
    say({"event": "done", "cell": index, "status": "out-of-memory", "reason": "full", "metrics": {}})
    return False


def main(job: Job, say, running: Running) -> None:
    names = [assignment.cell.mechanism for assignment in job.assignments]
    for name in names:
        if name.startswith("starting-"):
            act(name.removeprefix("starting-"))
    say({"event": "environment", "environment": {"environment_id": "fake"}})
    left, held = [], []
    for index, assignment in enumerate(job.assignments):
        name = assignment.cell.mechanism
        say({"event": "phase", "cell": index, "phase": "building"})
        say({"event": "metrics", "cell": index, "phase": "counting", "metrics": {"macs": 1}})
        print(f"building {name}", flush=True)  # noqa: T201 - what a plugin might do
        act("killed" if name == "killed-again" and assignment.companion else name)
        if name == "unsupported":
            say({"event": "done", "cell": index, "status": "unsupported", "reason": "too odd", "metrics": {}})
        elif name == "tells-its-pid":
            say({"event": "done", "cell": index, "status": "failed", "reason": str(os.getpid()), "metrics": {}})
        elif name == "loses-the-device":
            say({"event": "done", "cell": index, "status": "failed", "reason": "illegal access", "metrics": {}})
            return
        elif not name.startswith(("holds-", "kills-")) or takes(name, held, say, index):
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


def act(name: str) -> None:  # noqa: C901, PLR0912 - a table of what they do
    once, _, what = name.partition("once-")
    if what and not once:
        if not Path("was-here").exists():
            Path("was-here").touch()
            act(what)
    elif name == "hang":
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
    elif name == "prints":
        os.write(2, b"x" * 5_000_000)
        os.abort()
    elif name == "warns":
        _say({"event": "warning", "text": "no room for samples" + "!" * 5000})
    elif name.startswith("says-"):
        _say(SAYS[name.removeprefix("says-")])
    elif name == "writes":
        for descriptor in range(3, 64):
            with contextlib.suppress(OSError):
                os.write(descriptor, b"5\n")
        time.sleep(3600)
    elif name == "forks":
        os.fork()
    elif name == "cuts-the-page":
        Path(sys.argv[1]).with_suffix(".running").write_bytes(b"")
        os.abort()
    elif name == "slow":
        time.sleep(1.2)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    _say = voice.opened(int(sys.argv[2]))
    main(Job.read(path), _say, Running(path.with_suffix(".running")))
