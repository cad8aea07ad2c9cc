"""Whether anybody else uses the machine, and waiting until nobody does. Imports no torch."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from attnbench.devices import machine
from attnbench.devices.machine import Run, run_command

_WATCHED_S = 2.0
_OTHERS_CORES, _OF_ALL = 0.1, 0.01
"""Others are at work from a tenth of a core, or a hundredth of all if that is more, as while cells are timed."""
_GPU_PERCENT = 5.0
_TOLD_EVERY_S = 60.0


def disturbances(
    *, watched_s: float = _WATCHED_S, sleep: Callable[[float], object] = time.sleep, run: Run = run_command
) -> str:
    """Return what others do on this machine, in words; empty if nothing to speak of.

    What this process does counts as others' doing: it is to be asked while that does nothing.

    Args:
        watched_s: how long the machine is watched.
        sleep: waits.
        run: runs nvidia-smi.
    """
    cores = machine.usable_cores()
    before, began = machine.cpu_time(cores), time.monotonic()
    sleep(watched_s)
    after, said = machine.cpu_time(cores), []
    took_s = time.monotonic() - began
    if before and after and took_s > 0:
        busy = (after.busy_s + after.stolen_s - before.busy_s - before.stolen_s) / took_s
        if busy > max(_OTHERS_CORES, _OF_ALL * len(cores)):
            said.append(f"others keep {busy:.1f} of {len(cores)} cores busy")
    busy_gpus = [use for use in _gpu_percent(run) if use > _GPU_PERCENT]
    said += [f"a GPU is {max(busy_gpus):.0f} % in use"] if busy_gpus else []
    return " and ".join(said)


def _gpu_percent(run: Run) -> list[float]:
    said = run(["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]) or ""
    return [float(number) for number in re.findall(r"^\s*(\d+(?:\.\d+)?)\s*$", said, re.MULTILINE)]


@dataclass(slots=True, kw_only=True)
class IdleWait:
    """Waits until the machine is idle, up to a time.

    Example:
        >>> busy = iter(["others keep 1.3 of 2 cores busy", ""])
        >>> IdleWait(within_s=60, look=lambda: next(busy)).wait()
        ''
    """

    within_s: float
    say: Callable[[str], object] = lambda _: None
    look: Callable[[], str] = disturbances
    clock_s: Callable[[], float] = time.monotonic

    def wait(self) -> str:
        """Return empty once the machine is idle, or in words what others do when the time is over."""
        began, told_at = self.clock_s(), -_TOLD_EVERY_S
        while found := self.look():
            waited_s = self.clock_s() - began
            if waited_s >= self.within_s:
                return f"the machine was not idle within {self.within_s:g} s: {found}"
            if waited_s - told_at >= _TOLD_EVERY_S:
                self.say(f"waiting up to {self.within_s - waited_s:.0f} s for the machine to be idle: {found}")
                told_at = waited_s
        return ""
