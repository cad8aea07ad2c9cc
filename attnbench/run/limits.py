"""The machine's limits of a run: measured once for each environment, in a child, while nothing else runs.

Kept in ``limits.json`` of the run's folder, by environment id. The parent's side imports no torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnbench.record import Cell
from attnbench.roofline import MachineLimits

LIMITS = "limits.json"
TIMEOUT_S = 300.0


def read(folder: Path) -> dict[str, MachineLimits]:
    """Return the limits that a run's folder holds, by environment id; none if it holds none."""
    try:
        found: Mapping[str, Mapping[str, Any]] = json.loads((folder / LIMITS).read_text())
    except (OSError, ValueError):
        return {}
    return {environment_id: MachineLimits.from_dict(fields) for environment_id, fields in found.items()}


def measure(folder: Path, cells: Sequence[Cell], *, budget_s: float) -> dict[str, MachineLimits]:
    """Measure what is not known yet of the machine that the cells will run on, and return all that is known.

    A device that cannot be measured, for whatever reason, has no limits and its rows no bound: nothing is lost by it.

    Args:
        folder: of the run.
        cells: what will be measured.
        budget_s: time for each rate.
    """
    for device in dict.fromkeys(cell.device for cell in cells):
        here = [cell for cell in cells if cell.device == device]
        dtypes = dict.fromkeys(["float32", *(cell.dtype for cell in here)])
        threads = str(here[0].threads)
        asked = [str(folder / LIMITS), device, threads, str(budget_s), *dtypes]
        command = [sys.executable, "-P", "-m", "attnbench.run.limits", *asked]
        environ = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False, env=environ
            )
    return read(folder)


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
    _add(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5:])
