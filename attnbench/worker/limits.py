"""The child that measures what the machine can do: sets itself up as the worker does, and adds to a run's limits.

Run as ``python -m attnbench.worker.limits FILE DEVICE THREADS BUDGET_S DTYPE... EVENT_FD``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from attnbench import devices, files
from attnbench.child import voice
from attnbench.devices import environment
from attnbench.probes import interference, limits
from attnbench.runs.limits import AFTER, read, read_after, write_after


def add(path: Path, device: str, threads: int, budget_s: float, dtypes: Sequence[str]) -> None:
    """Measure what is not known of a device in this environment, after a run all of it, and write all that is known.

    Args:
        path: of the run's limits, those from before it or those from after it.
        device: by its full name.
        threads: intra-op threads.
        budget_s: time for each rate.
        dtypes: of the products that are timed.
    """
    on = devices.of(device)
    on.set_up(threads=threads)
    environment_id = environment.take(threads=threads, device=device).environment_id
    after = path.name == AFTER
    known = read_after(path.parent) if after else read(path.parent)
    before = known[environment_id].macs_per_s.keys() if environment_id in known else set()
    if not after and before and before >= set(dtypes):
        return
    watch = interference.Watch(pace=on.pace)
    watch.mark()
    found = limits.measure(device, list(dict.fromkeys([*dtypes, *before])), threads, budget_s=budget_s)
    watch.mark()
    known[environment_id] = replace(found, conditions="; ".join(watch.report().disturbances))
    if after:
        write_after(path, known)
    else:
        files.put(path, json.dumps({key: each.to_dict() for key, each in known.items()}, indent=1) + "\n", sync=True)


if __name__ == "__main__":
    *_asked, _event_fd = sys.argv[1:]
    _say = voice.opened(int(_event_fd))
    add(Path(_asked[0]), _asked[1], int(_asked[2]), float(_asked[3]), _asked[4:])
    _say({"event": "done"})
