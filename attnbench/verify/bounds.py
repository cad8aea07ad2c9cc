"""What follows from the machine's limits: the least latency, which limit binds, and the share that was reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attnbench import files, roofline
from attnbench.files import UnreadableError
from attnbench.reading import MisreadError
from attnbench.record import SEALED
from attnbench.roofline import MachineLimits
from attnbench.runs.limits import AFTER, LIMITS, KeptLimits
from attnbench.verify.finding import Place, Tally
from attnbench.verify.kept import KeptLine, KeptRun

_BOUND = "latency_bound_s"
_FILE = Place(file=LIMITS)


def check(kept: KeptRun, tally: Tally) -> None:
    """Work out again how near every timed row comes to its machine's limits."""
    bounded = [line for line in kept.latest.values() if _BOUND in line.record.metrics]
    if not bounded:
        return
    _after(kept, tally)
    in_file = _read(kept, tally)
    for line in bounded:
        _bound(line, _limits_of(line, in_file), tally)
    _agree({_environment(line): line for line in bounded}, in_file, tally)


def _after(kept: KeptRun, tally: Tally) -> None:
    """See that the limits from after the run are as they were written; nothing that is kept follows from them."""
    path, place = kept.folder / AFTER, Place(file=AFTER)
    if not path.is_file():
        tally.skip("the machine after the run", f"{AFTER} is not there")
        return
    try:
        found = files.json_of(path, KeptLimits)
    except MisreadError as error:
        tally.wrong(place, "limits", kept=None, found=f"what can be read: {error}")
    else:
        tally.compare(place, "sha256", kept=found.sha256, found=KeptLimits.of(found.limits).sha256)


def _read(kept: KeptRun, tally: Tally) -> Mapping[str, Any]:
    try:
        return files.json_of(kept.folder / LIMITS, dict[str, Any])
    except UnreadableError as error:
        tally.wrong(_FILE, "limits", kept=None, found=f"the limits that rows have bounds from: {error}")
        return {}


def _environment(line: KeptLine) -> str:
    return str(line.record.environment.get("environment_id"))


def _limits_of(line: KeptLine, in_file: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the limits that a row was bounded by: its own, in formats without them those of the file."""
    return line.record.limits if line.format >= SEALED else in_file.get(_environment(line), {})


def _bound(line: KeptLine, limits: Mapping[str, Any], tally: Tally) -> None:
    metrics, cell, place = line.record.metrics, line.record.cell, line.place
    try:
        machine = MachineLimits.from_dict(limits)
        expected = roofline.of_row(line.record, machine)
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        tally.wrong(place, _BOUND, kept=metrics[_BOUND], found=f"limits, multiply-adds and bytes of its row: {error}")
        return
    for name, value in expected.items():
        tally.compare(place, name, kept=metrics.get(name), found=value)
    tally.compare(place, "threads of the limits", kept=machine.threads, found=cell.threads)
    tally.compare(place, "device of the limits", kept=machine.device, found=cell.device)


def _agree(last: Mapping[str, KeptLine], in_file: Mapping[str, Any], tally: Tally) -> None:
    """Set the file's limits against those of the last row of each environment."""
    for environment, line in last.items():
        place = Place(file=LIMITS, row=environment)
        if environment not in in_file:
            tally.wrong(place, "limits", kept=None, found=f"those of {line.place}")
        elif line.format < SEALED:
            tally.skip("limits that bind no row", f"format {line.format} has no limits in its rows")
        else:
            _rates(place, in_file[environment], line.record.limits, tally)


def _rates(place: Place, kept: object, found: Mapping[str, Any], tally: Tally) -> None:
    ours, theirs = flat(kept), flat(found)
    for name in dict.fromkeys([*ours, *theirs]):
        tally.compare(place, name, kept=ours.get(name), found=theirs.get(name))


def flat(content: object, prefix: str = "") -> dict[str, object]:
    """Return what lies in nested tables and lists by dotted names."""
    if isinstance(content, Mapping):
        parts = content.items()
    elif isinstance(content, list | tuple):
        parts = dict(enumerate(content)).items()
    else:
        return {prefix: content}
    return {
        name: value
        for key, inner in parts
        for name, value in flat(inner, f"{prefix}.{key}" if prefix else str(key)).items()
    }
