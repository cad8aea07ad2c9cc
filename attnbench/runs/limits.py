"""The machine's limits of a run: measured once for each environment, in a child, while nothing else runs.

Kept in ``limits.json`` of the run's folder, by environment id. The parent's side imports no torch.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from attnbench.child import ENDED, Child
from attnbench.reading import structured
from attnbench.record import Cell
from attnbench.roofline import MachineLimits
from attnbench.runs.job import FORK

LIMITS = "limits.json"
TIMEOUT_S = 300.0
MODULE = "attnbench.runs.limits"


def read(folder: Path) -> dict[str, MachineLimits]:
    """Return the limits that a run's folder holds, by environment id; none if it holds none."""
    try:
        return structured(json.loads((folder / LIMITS).read_text()), dict[str, MachineLimits])
    except (OSError, ValueError):
        return {}


def measure(
    folder: Path,
    cells: Sequence[Cell],
    *,
    budget_s: float,
    timeout_s: float = TIMEOUT_S,
    isolation: str = FORK,
    module: str = MODULE,
) -> dict[str, MachineLimits]:
    """Measure what is not known yet of the machine that the cells will run on, and return all that is known.

    A device that cannot be measured has no limits and its rows no bound, which is warned of; nothing else is lost.

    Args:
        folder: of the run.
        cells: what will be measured.
        budget_s: time for each rate.
        timeout_s: how long all rates of a device may take.
        isolation: how the child starts, as the workers do.
        module: module that does the work.
    """
    log = folder / "logs" / "limits.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    for device in dict.fromkeys(cell.device for cell in cells):
        here = [cell for cell in cells if cell.device == device]
        dtypes = dict.fromkeys(["float32", *(cell.dtype for cell in here)])
        threads = here[0].threads
        asked = [str(folder / LIMITS), device, str(threads), str(budget_s), *dtypes]
        with Child(module, *asked, log=log, threads=threads, isolation=isolation) as child:
            reason = _why_not(child, device, timeout_s)
        if reason:
            warnings.warn(f"rows on {device} get no bound: {reason}", stacklevel=2)
    return read(folder)


def _why_not(child: Child, device: str, timeout_s: float) -> str:
    """Wait for a child to have measured a device, and return why it has not; empty if it has."""
    phase = f"measuring what {device} can do"
    said = child.next_event(timeout_s=timeout_s)
    if said is None:
        return f"{phase} took longer than {timeout_s:g} s"
    return child.cause_of_death(phase)[1] if said is ENDED else ""


def _add(path: Path, device: str, threads: int, budget_s: float, dtypes: Sequence[str]) -> None:
    from attnbench import devices  # noqa: PLC0415
    from attnbench.devices import environment  # noqa: PLC0415 - torch: the child's side
    from attnbench.probes import limits  # noqa: PLC0415

    devices.of(device).set_up(threads=threads)
    environment_id = environment.take(threads=threads, device=device).environment_id
    known = read(path.parent)
    before = known[environment_id].macs_per_s.keys() if environment_id in known else set()
    if before and before >= set(dtypes):
        return
    known[environment_id] = limits.measure(device, list(dict.fromkeys([*dtypes, *before])), threads, budget_s=budget_s)
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps({key: found.to_dict() for key, found in known.items()}, indent=1))
    beside.replace(path)


if __name__ == "__main__":
    *_asked, _event_fd = sys.argv[1:]
    _add(Path(_asked[0]), _asked[1], int(_asked[2]), float(_asked[3]), _asked[4:])
    os.write(int(_event_fd), b'{"event": "done"}\n')
