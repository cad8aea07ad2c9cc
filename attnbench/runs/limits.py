"""The machine's limits of a run: measured for each environment, in a child, while nothing else runs.

Before a run once, for all of its rows: ``limits.json`` of its folder, by environment id. Once more when it has ended,
since a machine that was busy before may have been fast meanwhile: ``limits_after.json``. Reports go by the higher of
both; what a row was bounded by when it was written stays in it. ``attnbench.worker.limits`` is the child.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from attnbench import files
from attnbench.axes import INT8
from attnbench.child import ENDED, Child, Reached
from attnbench.reading import MisreadError
from attnbench.record import Cell
from attnbench.roofline import MachineLimits
from attnbench.runs.job import FORK
from attnbench.store import parts

LIMITS, AFTER = "limits.json", "limits_after.json"
TIMEOUT_S = 300.0
EACH_S = 0.3
"""Most time for each of the machine's rates, in seconds, before a run and after it; no more than a cell is given. Tens
of samples of a kernel come to that, and the best of both times counts."""
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


def read_after(folder: Path) -> dict[str, MachineLimits]:
    """Return the limits that were measured when a run had ended, by environment id; none if there are none."""
    path = folder / AFTER
    if not path.is_file():
        return {}
    try:
        kept = files.json_of(path, KeptLimits)
    except MisreadError as error:
        warnings.warn(f"{error}; the limits after the run are not known", stacklevel=2)
        return {}
    return dict(kept.limits)


def write_after(path: Path, found: Mapping[str, MachineLimits]) -> None:
    """Write limits with a checksum of theirs.

    Raises:
        OSError: they cannot be written.
    """
    content = KeptLimits.of(found)
    files.put(path, json.dumps(asdict(content), indent=1) + "\n", sync=True)


def roofs(folder: Path) -> dict[str, MachineLimits]:
    """Return what a run's machine could do at most, before or after it, by environment id, with when that was taken."""
    after = read_after(folder)
    return {
        key: replace(limits.or_higher(after.get(key)), conditions=_taken(limits, after.get(key)))
        for key, limits in read(folder).items()
    }


def of_all(folders: Iterable[Path]) -> dict[str, MachineLimits]:
    """Return the highest roofs of runs, their workers' among them, by environment id; a file has none."""
    within = [part for folder in folders if folder.is_dir() for part in parts.of(folder) or [folder]]
    found: dict[str, MachineLimits] = {}
    for part in within:
        found |= {key: limits.or_higher(found.get(key)) for key, limits in roofs(part).items()}
    return found


def _taken(before: MachineLimits, after: MachineLimits | None) -> str:
    when = {"before the run": before, "after it": after}
    said = [
        f"{name} ({found.conditions})" if found.conditions else name
        for name, found in when.items()
        if found is not None
    ]
    return f"{'the higher of two ' if after else ''}taken {' and '.join(said)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLimits:
    """What the file of limits after a run holds."""

    limits: Mapping[str, MachineLimits]
    sha256: str
    """Of the limits, which follow from nothing else that is kept."""

    @classmethod
    def of(cls, limits: Mapping[str, MachineLimits]) -> KeptLimits:
        """Return limits with their checksum."""
        content = json.dumps({key: each.to_dict() for key, each in limits.items()}, sort_keys=True)
        return cls(limits=limits, sha256=hashlib.sha256(content.encode()).hexdigest())


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
    how = _How(budget_s=budget_s, timeout_s=timeout_s, isolation=isolation, module=module)
    for device, reason in _measured(folder / LIMITS, cells, how):
        warnings.warn(f"rows on {device} get no bound: {reason}", stacklevel=2)
    return read(folder)


def measure_after(
    folder: Path,
    cells: Sequence[Cell],
    *,
    budget_s: float,
    timeout_s: float = TIMEOUT_S,
    isolation: str = FORK,
    module: str = MODULE,
) -> dict[str, MachineLimits]:
    """Measure the machine again once its cells have been timed; see ``measure``.

    A run that goes on later keeps what was reached after an earlier part of it, where that was more.
    """
    how = _How(budget_s=budget_s, timeout_s=timeout_s, isolation=isolation, module=module)
    earlier = read_after(folder)
    for device, reason in _measured(folder / AFTER, cells, how):
        warnings.warn(f"the limits of {device} are those from before the run alone: {reason}", stacklevel=2)
    found = read_after(folder)
    highest = earlier | {key: _higher(limits, earlier.get(key)) for key, limits in found.items()}
    if highest != found:
        with contextlib.suppress(OSError):  # what was measured last is there already
            write_after(folder / AFTER, highest)
    return highest


def _higher(last: MachineLimits, earlier: MachineLimits | None) -> MachineLimits:
    conditions = dict.fromkeys(filter(None, [earlier.conditions, last.conditions])) if earlier else [last.conditions]
    return replace(last.or_higher(earlier), conditions="; ".join(conditions))


class _How(NamedTuple):
    budget_s: float
    timeout_s: float
    isolation: str
    module: str


def _measured(path: Path, cells: Sequence[Cell], how: _How) -> Iterator[tuple[str, str]]:
    """Have every device of some cells measured, and yield those that were not with the reason."""
    log = path.parent / "logs" / "limits.log"
    with contextlib.suppress(OSError):  # a log that cannot be written is warned of
        log.parent.mkdir(parents=True, exist_ok=True)
    for device, threads in dict.fromkeys((cell.device, cell.threads) for cell in cells):
        here = [cell for cell in cells if (cell.device, cell.threads) == (device, threads)]
        # Products of 8 bits are a runtime's, of whose limits nothing is known.
        dtypes = dict.fromkeys(["float32", *(cell.products for cell in here if cell.products != INT8)])
        asked = [str(path), device, str(threads), str(how.budget_s), *dtypes]
        reason = asked_of_child(
            *(how.module, *asked), phase=f"measuring what {device} can do", log=log, threads=threads,
            isolation=how.isolation, timeout_s=how.timeout_s,
        )  # fmt: skip
        if reason:
            yield device, reason


def asked_of_child(
    module: str, *asked: str, phase: str, log: Path, threads: int, isolation: str, timeout_s: float
) -> str:
    """Have a child measure something of the machine, and return why it did not; empty if it did.

    Args:
        module: of the child.
        *asked: its arguments.
        phase: what it does, for the reason.
        log: where what it prints goes.
        threads: that it may use.
        isolation: how it starts.
        timeout_s: how long it may take.
    """
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
