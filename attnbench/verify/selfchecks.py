"""What is kept of self-checks: checksums, what follows from their trials, and whether they are of the rows' machine."""

from __future__ import annotations

from attnbench.reading import MisreadError
from attnbench.selfcheck.kept import SELFCHECK, places, read
from attnbench.verify.finding import Place, Tally
from attnbench.verify.kept import KeptRun


def check(kept: KeptRun, tally: Tally) -> None:
    """Work out again how often intervals held the truth on the machines of a run."""
    try:
        found = read(kept.folder)
    except MisreadError as error:
        tally.wrong(Place(file=SELFCHECK), "self-check", kept=None, found=f"self-checks that can be read: {error}")
        return
    timed = places(kept.records)
    for one in found:
        place = Place(file=SELFCHECK, row=str(one.place))
        tally.compare(place, "sha256", kept=one.sha256, found=one.seal)
        tally.compare(place, "held", kept=one.held, found=sum(trial.covered for trial in one.result.trials))
        where = "; ".join(map(str, timed))
        tally.demand(one.place in timed, place, "hardware, device and threads", kept=one.place, found=where)
    for missing in [place for place in timed if place not in {one.place for one in found}]:
        tally.skip("self-check", f"not made on {missing}: attnbench selfcheck --keep {kept.folder}")
