"""Whose doing it was that timed calls have changed the process for everyone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attnbench.runs.job import Job
from attnbench.worker import events
from attnbench.worker.leftovers import OthersTurns
from attnbench.worker.objection import Objection, verdict
from attnbench.worker.ready import Ready
from attnbench.worker.surroundings import Surroundings, Turns

SAID: Final = "timed calls change the process for everyone"


def blamed(
    ready: Sequence[Ready],
    job: Job,
    say: events.Say,
    house: Surroundings | None,
    turns: Turns,
    *,
    others: OthersTurns | None = None,
) -> bool:
    """Return whether timed calls have changed the process, and end the cells that may have done it.

    One plugin is rejected. Of several, each is measured in a process without the others, which tells. No figure of a
    cell beside them stands either: it is left to another process.

    Args:
        ready: the cells that were timed.
        job: says which of them are plugins'.
        say: takes events.
        house: the process as it was before any plugin was loaded; None where none was.
        turns: whose world the process was in.
        others: how busy plugins' threads were in the turns of others; None where that was not watched.
    """
    found = changes(house, turns, others) if house else ""
    suspects = [one.index for one in ready if job.assignments[one.index].foreign] if found else []
    said = f"{SAID}: {found}"
    for index in suspects:
        if len(suspects) > 1:
            say(events.apart(index, f"beside other plugins, {said}"))
        else:
            say(events.ended(index, verdict([Objection(said=f"its {said}", sure=True)], {}, timed={})))
    return bool(suspects)


def changes(house: Surroundings, turns: Turns, others: OthersTurns | None = None) -> str:
    """Return what timed calls have changed for everyone, put back as far as it can be; empty for nothing."""
    cores, settled = house.busy_cores(), house.settle()
    busy = f"what they have started keeps {cores:.1f} cores busy while nothing is called" if cores else ""
    if not busy and others and others.busy_cores:
        busy = f"what they have started keeps {others.busy_cores:.1f} cores busy in others' turns"
    again = f"rebinds {', '.join(dict.fromkeys(turns.rebound))}" if turns.rebound else ""
    return "; ".join(each for each in (settled.said, again, busy) if each)
