"""What follows from the kept samples: medians, intervals, ratios, outliers, and what ended the sampling."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from attnbench import files
from attnbench.devices import names
from attnbench.metrics import METRICS
from attnbench.probes.interval import FEWEST_SAMPLES, Estimate, Series, median_estimate, outliers
from attnbench.record import SEALED
from attnbench.runs.rows import samples_of
from attnbench.store import timed_calls
from attnbench.store.timed_calls import Arrays
from attnbench.verify.finding import Place, Tally
from attnbench.verify.kept import TIMED, KeptLine, KeptRun

_PER_ROUND = ("elapsed_ns", "host_ns", "position", "outlier")
_RATIO = "latency_ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A row with its timed calls."""

    line: KeptLine
    place: Place
    """The file of the calls."""
    arrays: Arrays
    baseline: str
    """Key of the baseline; empty for none."""
    reference: Series | None
    """The baseline's seconds per call in the same rounds; None where they are not kept."""

    @property
    def seconds(self) -> Series:
        """Seconds per call, a round each."""
        return _seconds(self.arrays)

    @property
    def group(self) -> tuple[str, ...]:
        """Keys of the cells that took turns."""
        return tuple(map(str, self.arrays["group"].tolist()))

    @property
    def ratio(self) -> Estimate | None:
        """The median of the ratios within the rounds; None without a baseline."""
        return None if self.reference is None else median_estimate(self.seconds / self.reference)


def read(kept: KeptRun, tally: Tally) -> dict[str, Timed]:
    """Return the timed rows with their calls, by key; those whose calls cannot be read are findings."""
    files = _load(kept, tally)
    return {key: each for key, arrays in files.items() if (each := _timed(kept, key, arrays, files, tally))}


def check(kept: KeptRun, timed: Mapping[str, Timed], tally: Tally) -> None:
    """Work out again, from the kept samples, what every timed row says."""
    for each in timed.values():
        _arrays(each, tally)
        _group(each, kept, tally)
        _latencies(each, tally)
        _ratios(each, kept, tally)
        _ending(each, timed, tally)
    _turns(timed.values(), tally)


def _load(kept: KeptRun, tally: Tally) -> dict[str, Arrays]:
    found: dict[str, Arrays] = {}
    for key, line in kept.latest.items():
        if not line.timed:
            continue
        path = samples_of(kept.folder, line.record.cell)
        place = _file(kept.folder, path)
        try:
            content = files.bytes_of(path)
            found[key] = timed_calls.decoded(content, path)
        except files.UnreadableError as error:
            tally.wrong(place, "samples", kept=None, found=f"the timed calls of {line.place}: {error}")
            continue
        if line.format >= SEALED:
            digest = hashlib.sha256(content).hexdigest()
            tally.compare(line.place, "samples_sha256", kept=line.record.samples_sha256, found=digest)
    return found


def _timed(kept: KeptRun, key: str, arrays: Arrays, files: Mapping[str, Arrays], tally: Tally) -> Timed | None:
    """Return a row with its calls, None where the file does not hold them."""
    line = kept.latest[key]
    place = _file(kept.folder, samples_of(kept.folder, line.record.cell))
    missing = [name for name in (*_PER_ROUND, "calls_per_sample", "group") if name not in arrays]
    rounds = {len(arrays[name]) for name in _PER_ROUND if name in arrays}
    if missing or len(rounds) != 1 or key not in arrays["group"].tolist():
        lacks = ", ".join(missing) or f"arrays of one length, and {key} in its group"
        tally.wrong(place, "samples", kept=f"rounds {sorted(rounds)}", found=lacks)
        return None
    if "baseline_key" in arrays:
        baseline = str(arrays["baseline_key"])
        return Timed(line=line, place=place, arrays=arrays, baseline=baseline, reference=_seconds(arrays, "baseline_"))
    baseline = _baseline_of(kept, arrays) if line.format < SEALED else ""
    reference = _beside(arrays, files.get(baseline))
    return Timed(line=line, place=place, arrays=arrays, baseline=baseline, reference=reference)


def _baseline_of(kept: KeptRun, arrays: Arrays) -> str:
    """Return the key of the baseline of a row of formats 1 and 2, whose samples do not name it."""
    rows = (kept.latest.get(key) for key in arrays["group"].tolist())
    marked = [line.record.cell.key for line in rows if line and line.record.metrics.get("is_baseline")]
    return marked[0] if len(marked) == 1 else ""


def _beside(arrays: Arrays, baseline: Arrays | None) -> Series | None:
    """Return the baseline's seconds from its own file, None where that is of other rounds."""
    if baseline is None or baseline["group"].tolist() != arrays["group"].tolist():
        return None
    seconds = _seconds(baseline)
    return seconds if len(seconds) == len(arrays["elapsed_ns"]) else None


def _seconds(arrays: Arrays, of: str = "") -> Series:
    seconds: Series = arrays[f"{of}elapsed_ns"] / (float(arrays[f"{of}calls_per_sample"]) * 1e9)
    return seconds


def _arrays(timed: Timed, tally: Tally) -> None:
    arrays, place, cell = timed.arrays, timed.place, timed.line.record.cell
    positive = bool((arrays["elapsed_ns"] > 0).all()) and int(arrays["calls_per_sample"]) > 0
    tally.demand(positive, place, "elapsed_ns", kept="a time of 0 or less", found="times above 0")
    flagged = outliers(timed.seconds)
    _each(place, "outlier", arrays["outlier"], flagged, tally)
    if names.kind(cell.device) == names.HOST:
        _each(place, "host_ns", arrays["host_ns"], arrays["elapsed_ns"], tally)
    if timed.baseline == cell.key and "baseline_elapsed_ns" in arrays:
        _each(place, "baseline_elapsed_ns", arrays["baseline_elapsed_ns"], arrays["elapsed_ns"], tally)


def _group(timed: Timed, kept: KeptRun, tally: Tally) -> None:
    """See that those who took turns are cells of the run; later formats have a checksum of the whole file."""
    strangers = [key for key in timed.group if key not in kept.latest]
    if timed.line.format < SEALED:
        tally.demand(not strangers, timed.place, "group", kept=", ".join(strangers), found="keys of cells of the run")


def _each(place: Place, name: str, kept: ndarray[Any, Any], found: ndarray[Any, Any], tally: Tally) -> None:
    """Set two arrays against each other, and name the rounds in which they differ."""
    differing = np.flatnonzero(kept != found) if len(kept) == len(found) else np.arange(len(kept))
    for number in differing.tolist():
        other = found[number] if number < len(found) else None
        tally.wrong(place, f"{name}[{number}]", kept=kept[number], found=other)
    tally.figures += len(kept) - len(differing)


def _latencies(timed: Timed, tally: Tally) -> None:
    record, seconds, per = timed.line.record, timed.seconds, timed.line.layers
    median = median_estimate(seconds)
    _estimate(timed, TIMED, median, tally, per=per)
    found = {
        "latency_p90_s": float(np.quantile(seconds, 0.9)) / per,
        "throughput_img_per_s": record.cell.batch * per / median.value,
    }
    found["latency_samples"], found["latency_outliers"] = len(seconds), int(timed.arrays["outlier"].sum())
    if per > 1 and timed.line.format < SEALED:
        tally.skip("throughput of layers", "in formats 1 and 2 it is that of the whole stack")
        del found["throughput_img_per_s"]
    for name, value in found.items():
        tally.compare(timed.line.place, name, kept=record.metrics.get(name), found=value)
    tally.demand(len(seconds) >= FEWEST_SAMPLES, timed.place, "rounds", kept=len(seconds), found=FEWEST_SAMPLES)


def _estimate(timed: Timed, metric: str, found: Estimate | None, tally: Tally, *, per: int = 1) -> None:
    values = (None, None, None) if found is None else (found.value / per, found.low / per, found.high / per)
    for name, value in zip((metric, *METRICS[metric].ends), values, strict=True):
        tally.compare(timed.line.place, name, kept=timed.line.record.metrics.get(name), found=value)


def _ratios(timed: Timed, kept: KeptRun, tally: Tally) -> None:
    metrics, place = timed.line.record.metrics, timed.line.place
    if timed.reference is None and metrics.get(_RATIO) is not None:
        if timed.line.format < SEALED:
            tally.skip(_RATIO, "the baseline's calls of the same rounds are not kept")
        else:
            tally.wrong(place, _RATIO, kept=metrics[_RATIO], found="nothing: its samples have no baseline")
        return
    _estimate(timed, _RATIO, timed.ratio, tally)
    tally.compare(
        place, "is_baseline", kept=metrics.get("is_baseline"), found=timed.baseline == timed.line.record.cell.key
    )
    row = kept.latest.get(timed.baseline)
    if timed.baseline and row is None:
        tally.skip("name of the baseline", "it has no row")
    else:
        tally.compare(place, "baseline", kept=metrics.get("baseline"), found=row.record.cell.label if row else None)


def _ending(timed: Timed, all_timed: Mapping[str, Timed], tally: Tally) -> None:
    """Work out what ended the sampling from the precision that was asked for."""
    record = timed.line.record
    precision = record.settings.get("precision")
    if not isinstance(precision, int | float):
        if timed.line.format >= SEALED:
            tally.wrong(timed.line.place, "settings.precision", kept=precision, found="a number")
        return
    others = [all_timed.get(key) for key in timed.group if key != record.cell.key]
    if timed.baseline == record.cell.key and others:
        if not all(others):
            tally.skip("what ended the sampling of a baseline", "not all that it was timed with have their row")
            return
        precise = all(_reached(other, precision) for other in others if other)
    elif timed.baseline == record.cell.key:  # by itself: its ratio to itself says nothing
        precise = median_estimate(timed.seconds).half_width <= precision
    else:
        precise = _reached(timed, precision)
    kept = record.metrics.get("latency_stopped_by")
    tally.compare(timed.line.place, "latency_stopped_by", kept=kept, found="precision" if precise else "max-time")


def _reached(timed: Timed, precision: float) -> bool:
    return (timed.ratio or median_estimate(timed.seconds)).half_width <= precision


def _turns(timed: Iterable[Timed], tally: Tally) -> None:
    """See that in every round of a group each cell had a turn of its own."""
    groups: dict[tuple[tuple[str, ...], str], list[Timed]] = {}
    for each in timed:
        groups.setdefault((each.group, each.line.record.run_id), []).append(each)
    for (group, _), members in groups.items():
        _positions(members, len(group), tally)


def _positions(members: Sequence[Timed], turns: int, tally: Tally) -> None:
    rounds = {len(each.seconds) for each in members}
    place = members[0].place
    if len(rounds) != 1:
        tally.wrong(place, "rounds", kept=sorted(rounds), found="the same number in all files of a group")
        return
    table = np.stack([each.arrays["position"] for each in members])
    ordered = np.sort(table, axis=0)
    good = (ordered[0] >= 0) & (ordered[-1] < turns) & (np.diff(ordered, axis=0) > 0).all(axis=0)
    for number in np.flatnonzero(~good).tolist():
        found = f"places 0 to {turns - 1}, each once"
        tally.wrong(place, f"position[{number}] of its group", kept=table[:, number].tolist(), found=found)
    tally.figures += int(good.sum()) * len(members)


def _file(folder: Path, path: Path) -> Place:
    return Place(file=path.relative_to(folder).as_posix())
