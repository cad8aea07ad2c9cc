"""Three machines on one folder over NFS: one loses its power, one stands still until its lease is over; no row is lost.

The machines are virtual, their kernels, NFS clients and clocks are not: an hour ahead, an hour behind, and right.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import many_records
import nfs_machines
import pytest
from nfs_machines import MOUNTED

from attnbench import store
from attnbench.fleet import planned, planning, status
from attnbench.plan.sweep import Sweep
from attnbench.runs.job import Settings
from attnbench.store import parts

pytestmark = [
    pytest.mark.nfs,
    pytest.mark.skipif(bool(nfs_machines.why_not()), reason=nfs_machines.why_not()),
    pytest.mark.timeout(1800),
]
CELLS = 1200
SILENT_S = 30.0
HELPERS, PROJECT = (Path(__file__).parents[level] for level in (1, 2))
WORKS = f"""
cd /tmp
PYTHONPATH={PROJECT}:{HELPERS / "helpers"} PYTHONDONTWRITEBYTECODE=1 HOME=/tmp {sys.executable} -c '
from pathlib import Path
import fleet_faults
fleet_faults.work_on(Path("{MOUNTED}/run"), SEED, silent_s={SILENT_S})
'
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    # The machines have another /tmp; a file server wants a disk below it.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
        yield Path(made)


def rows_of(run: Path) -> Counter[str]:
    """Return how many rows each host has written."""
    found = Counter[str]()
    for part in (run / parts.WORKERS).glob("*"):
        with contextlib.suppress(FileNotFoundError):
            found[part.name.rpartition("-")[0]] += (part / "records.jsonl").read_bytes().count(b"\n")
    return found


def wait_for(run: Path, *hosts: str, rows: int = 1) -> None:
    while any(rows_of(run)[host] < rows for host in hosts):
        time.sleep(1)


def test_every_cell_has_one_row_whoever_loses_power_or_stands_still(folder: Path) -> None:
    run, cells = folder / "run", tuple(many_records.cells(CELLS, mechanisms=5))
    planning.keep(run, planned.plan_of({"": Sweep(cells=cells, baselines={})}, settings=Settings(), command="plan"))
    with nfs_machines.sharing(folder) as machines:
        clocks = {"ahead": 1.0, "behind": -1.0, "right": 0.0}
        started = {
            name: machines.start(name, WORKS.replace("SEED", str(seed)), hours=hours)
            for seed, (name, hours) in enumerate(clocks.items())
        }
        try:
            wait_for(run, *clocks)
            started["ahead"].lose_power()
            before = rows_of(run)["behind"]
            with started["behind"].stand_still():
                time.sleep(1.5 * SILENT_S)
            wait_for(run, "behind", rows=before + 1)
            for name in ("behind", "right"):
                assert started[name].process.wait() == 0
        finally:
            for machine in started.values():
                machine.process.kill()
    found = store.read(run)
    assert Counter(record.cell.key for record in found) == Counter(cell.key for cell in cells)
    assert {record.status for record in found} == {"ok"}
    told = status.take(run)
    assert told.done
    assert [worker.name.rpartition("-")[0] for worker in told.workers if worker.lost_to][:1] == ["ahead"]
