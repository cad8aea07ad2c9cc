"""The machine's limits of a run: measured once for each environment, in a child, while nothing else runs.

Kept in ``limits.json`` of the run's folder, by environment id; ``attnbench.worker.limits`` is the child.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path

from attnbench import files
from attnbench.child import ENDED, Child, Reached
from attnbench.reading import MisreadError
from attnbench.record import Cell
from attnbench.roofline import MachineLimits
from attnbench.runs.job import FORK

LIMITS = "limits.json"
TIMEOUT_S = 300.0
MODULE = "attnbench.worker.limits"


def read(folder: Path) -> dict[str, MachineLimits]:
    """Return the limits that a run's folder holds, by environment id; none if it holds none that can be read."""
    path = folder / LIMITS
    if not path.is_file():
        return {}
    try:
        return files.json_of(path, dict[str, MachineLimits])
    except MisreadError as error:
        warnings.warn(f"{error}; the limits of the machine are not known", stacklevel=2)
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
    with contextlib.suppress(OSError):  # a log that cannot be written is warned of
        log.parent.mkdir(parents=True, exist_ok=True)
    for device, threads in dict.fromkeys((cell.device, cell.threads) for cell in cells):
        here = [cell for cell in cells if (cell.device, cell.threads) == (device, threads)]
        dtypes = dict.fromkeys(["float32", *(cell.dtype for cell in here)])
        asked = [str(folder / LIMITS), device, str(threads), str(budget_s), *dtypes]
        reason = _measure(module, *asked, log=log, threads=threads, isolation=isolation, timeout_s=timeout_s)
        if reason:
            warnings.warn(f"rows on {device} get no bound: {reason}", stacklevel=2)
    return read(folder)


def _measure(module: str, *asked: str, log: Path, threads: int, isolation: str, timeout_s: float) -> str:
    """Have a device measured, and return why it was not; empty if it was."""
    phase = f"measuring what {asked[1]} can do"
    for last in (False, True):
        with Child(module, *asked, events={"done": Reached}, log=log, threads=threads, isolation=isolation) as child:
            said = child.next_event(timeout_s=timeout_s)
            if said is None:
                return f"{phase} took longer than {timeout_s:g} s"
            if said is not ENDED:
                return ""
            death = child.death(phase)
        if last or not death.from_outside:
            return death.reason
    raise AssertionError("the last attempt is one")
