"""Holds a run's folder against the rules: every check over all of it, whatever the others found."""

from __future__ import annotations

from pathlib import Path

from attnbench.verify import again as measured
from attnbench.verify import bounds, completeness, counted, lines, pages, samples, selfchecks
from attnbench.verify.finding import KeptVerification, Tally
from attnbench.verify.here import ThisMachine
from attnbench.verify.kept import read


def verify(folder: Path, *, counts: bool = True, again: int = 0) -> KeptVerification:
    """Work out again what a run's folder says, and return what does not hold.

    Args:
        folder: of a run.
        counts: count parameters and multiply-adds again, in a child process, of what is installed here as it was.
        again: measure so many cells again, chosen at random.

    Raises:
        StoreError: there are no records.
    """
    tally = Tally()
    kept, here = read(folder, tally), ThisMachine()
    for line in kept.lines:
        lines.check(line, tally)
    timed = samples.read(kept, tally)
    samples.check(kept, timed, tally)
    for check in (bounds.check, completeness.check, pages.check, selfchecks.check):
        check(kept, tally)
    if counts:
        counted.check(kept, here, tally)
    if again:
        measured.check(kept, timed, here, tally, cells=again)
    return KeptVerification(
        folder=folder,
        findings=tuple(tally.findings),
        unchecked=tally.unchecked,
        figures=tally.figures,
        rows=len(kept.latest),
    )
