"""What a self-check found, kept beside the rows of a run: how often intervals hold the truth on its machine. No torch.

``selfcheck.json`` of a run's folder has every trial, so that what is said of them can be worked out again.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from attnbench import __version__, files, store
from attnbench.errors import StoreError, UsageError
from attnbench.reading import MisreadError
from attnbench.record import Record, checksum
from attnbench.selfcheck.trials import Result

SELFCHECK = "selfcheck.json"
_TIMED = "latency_median_s"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TimingPlace:
    """What intervals depend on: rows and self-checks of the same place go together."""

    hardware: str
    device: str
    threads: int

    def __str__(self) -> str:
        return f"{self.hardware}, {self.device}, threads {self.threads}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSelfcheck:
    """A self-check as it lies in a run's folder."""

    hardware: str
    taken_at: str
    """ISO 8601, UTC."""
    command: str
    attnbench_version: str
    held: int
    """How many of the 95 % intervals held the truth."""
    result: Result
    sha256: str = ""
    """Of the rest of it."""

    @property
    def place(self) -> TimingPlace:
        """Where it was made."""
        return TimingPlace(hardware=self.hardware, device=self.result.device, threads=self.result.threads)

    @property
    def seal(self) -> str:
        """The checksum that it should have."""
        return checksum(asdict(self))

    def __str__(self) -> str:
        load = ", one core kept busy" if self.result.loaded else ""
        told = f"{self.held} of {len(self.result.trials)} of the 95 % intervals held the truth"
        return f"{told}, {self.result.cache} caches{load}, {self.taken_at[:10]}, {self.command}"


def made(result: Result, *, hardware: str, command: str) -> KeptSelfcheck:
    """Return what is to be kept of a self-check that has just been made."""
    return KeptSelfcheck(
        hardware=hardware,
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        attnbench_version=__version__,
        held=sum(trial.covered for trial in result.trials),
        result=result,
    )


def places(records: Iterable[Record]) -> list[TimingPlace]:
    """Return the places that timed rows come from."""
    timed = [record for record in records if _TIMED in record.metrics]
    return list(
        dict.fromkeys(
            TimingPlace(
                hardware=str(record.environment.get("hardware")), device=record.cell.device, threads=record.cell.threads
            )
            for record in timed
        )
    )


def read(folder: Path) -> tuple[KeptSelfcheck, ...]:
    """Return what a run's folder has.

    Raises:
        MisreadError: what it has does not fit.
    """
    path = folder / SELFCHECK
    return files.json_of(path, tuple[KeptSelfcheck, ...]) if path.is_file() else ()


def keep(folder: Path, found: KeptSelfcheck) -> None:
    """Put a self-check beside the rows of a run, in place of an earlier one of that place and load.

    Raises:
        StoreError: the file cannot be written.
    """
    sealed = replace(found, sha256=found.seal)
    try:
        others = [one for one in read(folder) if (one.place, one.result.loaded) != (found.place, found.result.loaded)]
    except MisreadError:
        others = []
    try:
        text = json.dumps([asdict(one) for one in (*others, sealed)], indent=1) + "\n"
        files.put(folder / SELFCHECK, text, sync=True)
    except OSError as error:
        reason = f"cannot write {folder / SELFCHECK}: {files.reason_of(error)}"
        raise StoreError(f"{reason}; give a folder that can be written") from None


def refuse_elsewhere(here: TimingPlace, folder: Path) -> None:
    """Refuse to keep a self-check beside rows that were timed elsewhere.

    Raises:
        StoreError: there are no rows.
        UsageError: no row of the run is of this place.
    """
    there = places(store.read(folder))
    if here not in there:
        timed = "; ".join(map(str, there)) or "nothing"
        raise UsageError(
            f"--keep {folder}: it was timed on {timed}, and this is {here}; give its --device and --threads"
        )


def said(records: Sequence[Record], folders: Iterable[Path]) -> tuple[str, ...]:
    """Return a line for each place that rows were timed on: what the self-check found there, or how to make it.

    Args:
        records: rows.
        folders: of the runs that they come from.
    """
    there = [one for folder in folders for one in _readable(folder)]
    wanted = places(records)
    lines = []
    for place in wanted:
        found = [str(one) for one in there if one.place == place]
        command = f"attnbench selfcheck --device {place.device} --threads {place.threads} --keep FOLDER"
        where = f"{place}: " if len(wanted) > 1 else ""
        lines += [f"{where}{line}" for line in found or [f"not made: {command}"]]
    return tuple(lines)


def _readable(folder: Path) -> tuple[KeptSelfcheck, ...]:
    try:
        return read(folder)
    except MisreadError as error:
        warnings.warn(f"{error}; what the self-check found is not known", stacklevel=4)
        return ()
