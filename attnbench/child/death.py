"""What a child died of, as far as the kernel says, and whether that is the doing of what ran in it."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Final

from attnbench.record import Status

_BY_OTHERS: Final = {
    int(number) for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
}
"""Signals that no fault of a process's own brings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """How a child ended before its time."""

    status: Status
    reason: str
    from_outside: bool = False
    """Whether it was ended by somebody: nothing that it did shows, and once more it may live."""


def of(exit_status: int | None, *, phase: str, said: str, foreign: str, memory_ran_out: bool) -> Death:
    """Return what is known of a death.

    Args:
        exit_status: as subprocess has it, negative for a signal; None if what watched over the child was ended first.
        phase: what the child was doing.
        said: its last words, empty if it had none.
        foreign: what it was ended for: said where its process says events, and none.
        memory_ran_out: whether the kernel has ended a process for lack of memory meanwhile.
    """
    if foreign:
        return Death(status=Status.CRASHED, reason=f"it wrote {foreign} into the channel of its process while {phase}")
    hint = f" ({said})" if said else ""
    if memory_ran_out and exit_status in {-signal.SIGKILL, None}:
        return Death(
            status=Status.OUT_OF_MEMORY, reason=f"the kernel ended the process for lack of memory while {phase}"
        )
    if exit_status is None:
        reason = f"what watches over the process was ended from outside while {phase}{hint}"
        return Death(status=Status.CRASHED, reason=reason, from_outside=True)
    if exit_status >= 0:
        return Death(status=Status.CRASHED, reason=f"the process ended with status {exit_status} while {phase}{hint}")
    reason = f"killed by {_signal_name(-exit_status)} while {phase}{hint}"
    if -exit_status in _BY_OTHERS:
        reason += "; no fault of a process's own brings that signal"
        return Death(status=Status.CRASHED, reason=reason, from_outside=True)
    return Death(status=Status.CRASHED, reason=reason)


def _signal_name(number: int) -> str:
    # Signals between SIGRTMIN and SIGRTMAX have no name.
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
