"""A child of rerun without torch that has both revisions. Their files say in JSON how the child behaves."""

import itertools
import json
import os
import random
import signal
import sys
from pathlib import Path

from attnbench.child import voice
from attnbench.runs.job import Job

_NEEDS_ITS_OWN = {"fails", "apart", "dies_after", "hangs_after"}
"""What the file of one says that is to be tried with a process for each revision."""


def main(job: Job, say) -> None:
    acts = [json.loads(Path(each.cell.mechanism.rpartition(":")[0]).read_text()) for each in job.assignments]
    say({"event": "environment", "environment": {"environment_id": "fake", "torch_version": "0"}})
    if any(_NEEDS_ITS_OWN & own.keys() for own in acts):
        say({"event": "incompatible", "reason": "it says so"})
        return
    for index, (own, each) in enumerate(zip(acts, job.assignments, strict=True)):
        known = {name: value for name, value in each.cell.options.items() if name in own.get("knows", ())}
        say({"event": "options", "cell": index, "options": own.get("options", known)})
        if "counting" not in each.phases_done:
            say({"event": "phase", "cell": index, "phase": "counting"})
            say({"event": "metrics", "cell": index, "phase": "counting", "metrics": {"macs": own["macs"]}})
    say({"event": "ready", "layers": 1})
    rng = random.Random(os.getpid() if "once" in acts[1] else 1)
    blocks = range(1) if "once" in acts[1] else itertools.count()
    for number in blocks:
        if number == acts[1].get("ends_after"):
            sys.stderr.write("no more of this\n")
            os.kill(os.getpid(), signal.SIGSEGV)
        pace = [1 + rng.random() for _ in range(5)]  # between once and twice as slow, the same for both of a round
        base, head = ([round(own["ns"] * each * rng.gauss(1, 0.002)) for each in pace] for own in acts)
        if number == acts[1].get("lies_after"):
            head[0] = 0
        say({"event": "block", "base_ns": base, "head_ns": head, "disturbed": acts[1].get("disturbed", "")})


if __name__ == "__main__":
    main(Job.read(Path(sys.argv[1])), voice.opened(int(sys.argv[-1])))
    sys.stdout.flush()
    os._exit(0)
