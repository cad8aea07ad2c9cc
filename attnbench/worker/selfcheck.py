"""The child that sees whether a machine finds known ratios: a layer timed against a copy of itself, and two in a row.

Run as ``python -m attnbench.worker.selfcheck FILE DEVICE THREADS TRIALS EVENT_FD``. It takes a second for each trial;
``attnbench selfcheck`` is the thorough one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from attnbench import devices
from attnbench.child import voice
from attnbench.devices import environment
from attnbench.probes.latency import TimingSettings, time_interleaved
from attnbench.probes.twins import layers
from attnbench.runs.proofs import KnownRatios, add
from attnbench.selfcheck.trials import TRUTHS

_SETTINGS = TimingSettings(precision=0.01, max_time_s=1.0, warmup_s=0.1, grouped=False)


def take(path: Path, device: str, threads: int, trials: int) -> None:
    """Time each known ratio so many times, and write them beside those of other environments."""
    on = devices.of(device)
    on.set_up(threads=threads)
    environment_id = environment.take(threads=threads, device=device).environment_id
    twins, found = layers(device), {truth: list[float]() for truth in TRUTHS}
    for seed in range(trials):
        for truth in TRUTHS:
            calls = {"once": twins.once, "other": twins.other(truth)}
            timed = time_interleaved(calls, baseline="once", settings=_SETTINGS, timer=on.timer(), seed=seed)
            ratio = timed["other"].ratio
            assert ratio is not None, "there is a baseline"
            found[truth].append(ratio.value)
    add(path, environment_id, KnownRatios(device=device, threads=threads, one=found[1], two=found[2]))


if __name__ == "__main__":
    *_asked, _event_fd = sys.argv[1:]
    _say = voice.opened(int(_event_fd))
    take(Path(_asked[0]), _asked[1], int(_asked[2]), int(_asked[3]))
    _say({"event": "done"})
