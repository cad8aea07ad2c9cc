"""The timed calls of cells that take turns: what is done before and after each of them, outside the timed part."""

from __future__ import annotations

from collections.abc import Sequence

from attnbench.axes import COLD, WARM
from attnbench.devices import attention
from attnbench.devices.clock import Call
from attnbench.devices.device import Device
from attnbench.worker.surroundings import Turns
from attnbench.worker.witness import Witness


class TimedCalls:
    """Calls that each find new values, the caches in the state that their cell names, and their own world.

    Args:
        witnesses: one a cell, which makes its calls.
        turns: whose world the process is in, in the same order.
        device: where all of them run.
        flush: fills the device's caches with other data.
    """

    def __init__(self, witnesses: Sequence[Witness], turns: Turns, *, device: Device, flush: Call) -> None:
        self._witnesses = witnesses
        self._turns = turns
        self._device = device
        self._flush = flush
        self._kernels = attention.Kernels()

    def before(self, index: int) -> None:
        """Make everything ready for the call of a cell."""
        self._turns.to(None)
        witness = self._witnesses[index]
        self._kernels.allow(witness.cell.sdpa)
        if witness.cell.cache == WARM:
            witness.prepare()
            self._turns.to(index)
            witness.call()
            self._turns.to(None)
            self._device.synchronize()
        witness.prepare()
        if witness.cell.cache == COLD:
            self._flush()
        self._turns.to(index)

    def after(self, index: int) -> None:
        """Look at what a call has returned."""
        self._turns.to(None)
        self._witnesses[index].testify()

    def end(self) -> None:
        """Let the process be as it was before any plugin, with all of torch's kernels."""
        self._turns.to(None)
        self._kernels.allow(attention.AUTO)
