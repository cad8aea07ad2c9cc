"""The energy of a cell that was timed: the pass after the timing."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from attnbench.devices import attention
from attnbench.devices.device import Device
from attnbench.devices.energy import NoCounterError
from attnbench.probes import energy
from attnbench.worker.ready import Metrics, Ready

Progress = Callable[[float], None]
_STEP, _STEPS = 0.01, 2**20
"""By how much an input is moved at most between two calls, and how many such moves there are."""


def measure_energy(one: Ready, device: Device, *, at_least_s: float, progress: Progress) -> Metrics:
    """Return the energy per image, divided by layers as the latency is; why there is none where nothing counts it.

    Args:
        one: the cell.
        device: its device.
        at_least_s: time for the calls.
        progress: told the part that is done.
    """

    def call() -> None:
        one.x.detach().add_(_STEP * (secrets.randbelow(_STEPS) / _STEPS - 0.5))  # what answers from memory takes none
        one.call()

    try:
        counter = device.energy_counter()
        with attention.allowed(one.cell.sdpa):
            found = energy.measure(
                call,
                counter=counter,
                wait=device.synchronize,
                at_least_s=at_least_s,
                on_window=lambda done: progress(done / energy.WINDOWS),
            )
    except NoCounterError as error:
        return {"energy_remark": str(error)}
    images = one.cell.batch * one.layers
    return {
        "energy_per_image_j": found.value_j / images,
        "energy_per_image_ci_low_j": found.low_j / images,
        "energy_per_image_ci_high_j": found.high_j / images,
        "energy_idle_w": found.idle_w,
        "energy_counter": found.counter,
    }
