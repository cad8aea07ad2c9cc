"""How a machine proves itself before it times anything: what it finds for known ratios, beside its limits. No torch.

``proof.json`` of a part has them by environment id. ``attnbench.worker.selfcheck`` is the child that takes them,
``attnbench.report.peers`` holds them and the limits against those of other machines of the kind.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from attnbench import files
from attnbench.reading import MisreadError
from attnbench.record import Cell
from attnbench.report.peers import ProvenMachine
from attnbench.runs import limits as machine_limits
from attnbench.runs.job import FORK
from attnbench.store import PlacedRecord

PROOF = "proof.json"
MODULE = "attnbench.worker.selfcheck"
TRIALS = 3
TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRatios:
    """What a machine found for ratios of latencies that are known beforehand."""

    device: str
    threads: int
    one: Sequence[float]
    """For a ratio of 1, a value a trial."""
    two: Sequence[float]
    """For a ratio of 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Host:
    host: str


def read(folder: Path) -> dict[str, KnownRatios]:
    """Return what a part holds, by environment id; nothing if it holds nothing that can be read."""
    path = folder / PROOF
    if not path.is_file():
        return {}
    try:
        return files.json_of(path, dict[str, KnownRatios])
    except MisreadError as error:
        warnings.warn(f"{error}; what its machine found for known ratios is not known", stacklevel=2)
        return {}


def add(path: Path, environment_id: str, found: KnownRatios) -> None:
    """Write what was found beside what is there of other environments.

    Raises:
        OSError: it cannot be written.
    """
    known = {**read(path.parent), environment_id: found}
    files.put(path, json.dumps({key: asdict(each) for key, each in known.items()}, indent=1) + "\n", sync=True)


def take(folder: Path, cells: Sequence[Cell], *, isolation: str = FORK, timeout_s: float = TIMEOUT_S) -> None:
    """Have the machine time known ratios on the devices and with the threads of some cells; what fails is warned of.

    Args:
        folder: of the part.
        cells: what will be timed.
        isolation: how the child starts, as the workers do.
        timeout_s: how long all trials on a device may take.
    """
    log = folder / "logs" / "selfcheck.log"
    with contextlib.suppress(OSError):  # a log that cannot be written is warned of
        log.parent.mkdir(parents=True, exist_ok=True)
    for device, threads in dict.fromkeys((cell.device, cell.threads) for cell in cells):
        reason = machine_limits.asked_of_child(
            *(MODULE, str(folder / PROOF), device, str(threads), str(TRIALS)),
            phase=f"timing known ratios on {device}", log=log, threads=threads, isolation=isolation,
            timeout_s=timeout_s,
        )  # fmt: skip
        if reason:
            warnings.warn(f"{device} has not proved itself: {reason}", stacklevel=2)


def proven(placed: Iterable[PlacedRecord]) -> list[ProvenMachine]:
    """Return what is known of the machines that rows were timed on, a machine for each environment of each part."""
    runs: dict[tuple[Path, str], set[str]] = {}
    hardware: dict[tuple[Path, str], str] = {}
    for each in placed:
        environment: Mapping[str, object] = each.record.environment
        key = (each.folder, str(environment.get("environment_id") or ""))
        if "latency_median_s" in each.record.metrics:
            runs.setdefault(key, set()).add(each.record.run_id)
            hardware[key] = str(environment.get("hardware") or "")
    found = []
    for (part, environment_id), run_ids in runs.items():
        limits, ratios = machine_limits.read(part).get(environment_id), read(part).get(environment_id)
        found.append(
            ProvenMachine(
                name=_name(part),
                hardware=hardware[part, environment_id],
                run_ids=frozenset(run_ids),
                limits=limits,
                ratios={1: tuple(ratios.one), 2: tuple(ratios.two)} if ratios else {},
            )
        )
    return found


def _name(part: Path) -> str:
    """Return the host that a part was measured on, or the name of its folder where that does not say."""
    try:
        content = json.loads(files.text_of(part / "worker.json"))
        return str(content["host"]) or part.name
    except (MisreadError, ValueError, KeyError, TypeError):
        return part.resolve().name
