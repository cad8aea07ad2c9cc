"""A worker of a shared folder that measures nothing: rows of 2 KiB that were made up, as fast as it can write them.

Run as ``python stand_in_worker.py FOLDER``; prints when it began and ended, in seconds of a clock that all share.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import many_records

from attnbench.fleet import work
from attnbench.fleet.means import MachineMeans
from attnbench.plan.sweep import Sweep
from attnbench.record import Record
from attnbench.runs import limits

MEANS = MachineMeans(devices=("cpu",), hardware=("Xeon 8480",), cores=4, memory_bytes=2**60)


def made_up(sweep: Sweep, *, recorded: Sequence[Record], run_id: str, kind: str, **_: Any) -> Iterator[Record]:
    """Yield a row for each cell that has none."""
    there = {record.cell.key for record in recorded}
    for place, cell in enumerate(sweep.cells):
        if cell.key not in there:
            yield many_records.record(place, cell, run_id=run_id, kind=kind)


if __name__ == "__main__":
    limits.measure = limits.measure_after = lambda *_, **__: {}
    work.runner.run = made_up
    begun_s = time.monotonic()
    work.FleetWork(folder=Path(sys.argv[1]), means=MEANS).run()
    print(begun_s, time.monotonic())  # noqa: T201
