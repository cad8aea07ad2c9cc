"""From the records of a check to one figure with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from attnbench.claims import arithmetic, fit
from attnbench.claims.claim import Check, Take
from attnbench.claims.plan import ClaimPoint
from attnbench.compare.verdict import widest_ratio
from attnbench.files import UnreadableError
from attnbench.metrics import METRICS, Compared, is_number
from attnbench.models.pyramid import SWIN_T_SIZED
from attnbench.probes.interval import Estimate, median_estimate
from attnbench.record import Cell, Record, Scope, Status
from attnbench.store import timed_calls

TIMED = "latency_median_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What one point gave."""

    point: ClaimPoint
    estimate: Estimate
    formula: float | None = None
    """What the claim's formula gives there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a check gave."""

    estimate: Estimate
    figures: tuple[Figure, ...]
    deviation: float = 0.0
    """Largest difference between what was measured and a formula, as a fraction of the formula."""
    formula_exponent: float | None = None
    """How the formula grows with the tokens, where there is one; the estimate is how the measured figure does."""

    @property
    def where(self) -> ClaimPoint | None:
        """The point that the figure was taken from, None if it is of all of them."""
        found = [figure.point for figure in self.figures if figure.estimate == self.estimate]
        return found[0] if found else None


class Unanswered(Exception):  # noqa: N818 - an outcome, not a fault
    """A check that gave no figure, with why."""


def answer(check: Check, points: Sequence[ClaimPoint], records: Mapping[str, Record], samples: Path) -> Answer:
    """Return what the records say.

    Args:
        check: what is asked.
        points: its points.
        records: by the key of their cell.
        samples: folder of the timed calls, from which ratios are taken within each round.

    Raises:
        Unanswered: a cell is missing or did not end ok, has no such figure, or the figures allow no such arithmetic.
    """
    try:
        return _answer(check, points, records, samples)
    except (ValueError, ArithmeticError) as error:
        raise Unanswered(str(error)) from None


def _answer(check: Check, points: Sequence[ClaimPoint], records: Mapping[str, Record], samples: Path) -> Answer:
    figures = tuple(_figure(check, point, records, samples) for point in points)
    if check.formula:
        return _against_formula(check, figures)
    if check.take is Take.EXPONENT:
        along = [float(figure.point.at) for figure in figures]
        return Answer(estimate=fit.exponent(along, [f.estimate.value for f in figures]), figures=figures)
    if check.take is Take.VALUE and len(figures) > 1:
        raise Unanswered(f"{len(figures)} figures where one is needed; take the largest or smallest")
    choose = min if check.take is Take.SMALLEST else max
    return Answer(estimate=choose((f.estimate for f in figures), key=lambda e: e.value), figures=figures)


def _against_formula(check: Check, figures: Sequence[Figure]) -> Answer:
    tokens = [float(symbols_of(figure.point.of, check)["N"]) for figure in figures]
    measured = [figure.estimate.value for figure in figures]
    printed = [figure.formula or math.nan for figure in figures]
    found, expected = fit.exponent(tokens, measured), fit.exponent(tokens, printed)
    deviation = max(abs(one / other - 1) for one, other in zip(measured, printed, strict=True))
    return Answer(estimate=found, figures=tuple(figures), deviation=deviation, formula_exponent=expected.value)


def symbols_of(cell: Cell, check: Check) -> dict[str, float]:
    """Return what a formula's symbols are at a layer's site."""
    if cell.scope is not Scope.LAYER:
        return dict(check.symbols)
    stride = SWIN_T_SIZED.stride(cell.stage - 1)
    height, width = -(-cell.height // stride), -(-cell.width // stride)
    site = {"H": height, "W": width, "N": height * width, "C": cell.dim, "h": cell.heads, "d": cell.dim / cell.heads}
    return {name: float(value) for name, value in site.items()} | dict(check.symbols)


def _figure(check: Check, point: ClaimPoint, records: Mapping[str, Record], samples: Path) -> Figure:
    of = _record(point.of, records)
    estimate = _estimate(of, check)
    if point.over is not None:
        over = _record(point.over, records)
        timed = check.metric == TIMED
        estimate = _timed_ratio(samples, point) if timed else _ratio(estimate, _estimate(over, check), check.metric)
    if not check.formula:
        return Figure(point=point, estimate=estimate)
    symbols = symbols_of(point.of, check)
    rest = arithmetic.evaluate(check.left_out, symbols) if check.left_out else 0.0
    return Figure(
        point=point, estimate=_exact(estimate.value - rest), formula=arithmetic.evaluate(check.formula, symbols)
    )


def _record(cell: Cell, records: Mapping[str, Record]) -> Record:
    record = records.get(cell.key)
    if record is None:
        raise Unanswered(f"{cell.label} was not run")
    if record.status is not Status.OK:
        raise Unanswered(f"{cell.label}: {record.status.value}: {record.reason}")
    if record.metrics.get("suspicious"):
        raise Unanswered(f"{cell.label}: suspicious: {record.metrics['suspicious']}")
    return record


def _estimate(record: Record, check: Check) -> Estimate:
    value = _number(record, check.metric)
    if check.less or check.plus:
        added = _number(record, check.plus) if check.plus else 0.0
        return _exact(value + added - (_number(record, check.less) if check.less else 0.0))
    ends = [record.metrics.get(end) for end in METRICS[check.metric].ends]
    low, high = ends or (None, None)
    return Estimate(value=value, low=low, high=high) if is_number(low) and is_number(high) else _exact(value)


def _number(record: Record, metric: str) -> float:
    value = record.metrics.get(metric)
    if not is_number(value):
        raise Unanswered(f"{record.cell.label} has no {metric}")
    return float(value)


def _exact(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value)


def _ratio(of: Estimate, over: Estimate, metric: str) -> Estimate:
    """Return the ratio of two figures, with all that their intervals admit where it is judged by an interval."""
    if METRICS[metric].compared is not Compared.RATIO:
        return _exact(of.value / over.value)
    if over.low <= 0:
        raise Unanswered(f"the interval of {METRICS[metric].label} reaches down to 0; measure it anew")
    return widest_ratio(of, over)


def _timed_ratio(samples: Path, point: ClaimPoint) -> Estimate:
    """Return the ratio of two cells that were timed in turn, taken within each round."""
    assert point.over is not None
    try:
        of, over = (_Timed.read(samples / f"{cell.key}.npz") for cell in (point.of, point.over))
    except (UnreadableError, KeyError):
        raise Unanswered(f"cannot read the timed calls of {point.of.label} and {point.over.label}") from None
    of, over = _in_the_same_rounds(point.of.key, of, point.over.key, over)
    if of.group != over.group or len(of.seconds) != len(over.seconds):
        raise Unanswered(
            f"{point.of.label} and {point.over.label} were not timed in the same rounds; --fresh does that"
        )
    return median_estimate(of.seconds / over.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timed:
    """The timed calls of one cell."""

    seconds: np.ndarray[tuple[int], np.dtype[np.float64]]
    group: tuple[str, ...]
    """Keys of the cells that took turns with it."""
    baseline: str = ""
    """Key of the baseline; empty if there was none, and in runs of formats 1 and 2."""
    of_baseline: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None
    """The baseline's seconds in the same rounds."""

    @classmethod
    def read(cls, path: Path) -> _Timed:
        arrays = timed_calls.read(path)
        seconds = arrays["elapsed_ns"] / (1e9 * arrays["calls_per_sample"])
        found = cls(seconds=seconds, group=tuple(arrays["group"].tolist()))
        if "baseline_key" not in arrays:
            return found
        reference = arrays["baseline_elapsed_ns"] / (1e9 * arrays["baseline_calls_per_sample"])
        return replace(found, baseline=str(arrays["baseline_key"]), of_baseline=reference)


def _in_the_same_rounds(of_key: str, of: _Timed, over_key: str, over: _Timed) -> tuple[_Timed, _Timed]:
    """Return two cells' calls, those of a baseline as they were beside the other: it may have been timed before too."""
    if of.baseline == over_key and of.of_baseline is not None:
        return of, replace(of, seconds=of.of_baseline)
    if over.baseline == of_key and over.of_baseline is not None:
        return replace(over, seconds=over.of_baseline), over
    return of, over
