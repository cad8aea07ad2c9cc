"""Numbers of metrics as people read them: in units that suit them, with as many digits as tell something."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import TypeGuard

from attnbench.metrics.metric import Form
from attnbench.metrics.table import METRICS

_PREFIXES = {
    Form.PLAIN: ((1.0, ""),),
    Form.DECIMAL: ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")),
    Form.TIME: ((1e-9, "n"), (1e-6, "µ"), (1e-3, "m"), (1.0, "")),
    Form.BINARY: ((1.0, ""), (2.0**10, "Ki"), (2.0**20, "Mi"), (2.0**30, "Gi"), (2.0**40, "Ti")),
    Form.PERCENT: ((0.01, "%"),),
    Form.PARTS: ((1e-9, "ppb"), (1e-6, "ppm"), (0.01, "%")),
}
_SIGNIFICANT = 3
_MORE_DECIMALS = 2
"""Digits that a narrow interval may add: below 1 in 20 000 of the value it tells a reader nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The unit that numbers of one metric are printed in, so that those of a column or an axis can be compared.

    Example:
        >>> Scale(size=0.001, unit="ms").number(0.01234)
        '12.3'
    """

    size: float
    """The unit in the metric's own unit: 0.001 for ms."""
    unit: str
    """What is written behind the number: ``ms``, ``MiB``, ``GMACs``, ``M``, ``%``."""

    def number(self, value: float, *, half_width: float = math.inf) -> str:
        """Return the number alone: three significant digits, or one of the interval's half-width if that is more."""
        return f"{value / self.size:.{self.decimals(value, half_width=half_width)}f}"

    def decimals(self, value: float, *, half_width: float = math.inf) -> int:
        """Return how many digits follow the point."""
        for_value = _SIGNIFICANT - 1 - _magnitude(value / self.size, digits=_SIGNIFICANT)
        for_width = -_magnitude(half_width / self.size, digits=1) if 0 < half_width < math.inf else 0
        return max(for_value, min(for_width, for_value + _MORE_DECIMALS), 0)


def is_number(value: object) -> TypeGuard[float]:
    """Say whether a value was measured as a number: not empty, finite, not a text and not a truth."""
    # Asked of every value of a report: an abstract class takes ten times as long to ask.
    if value is None:
        return False
    if type(value) in {int, float}:
        return math.isfinite(value)  # type: ignore[arg-type]
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def scale(metric: str, values: Iterable[object]) -> Scale:
    """Return the unit that suits numbers of a metric together: the geometric mean of their sizes decides.

    Raises:
        KeyError: there is no such metric.
    """
    found = METRICS[metric]
    sizes = [math.log(abs(value)) for value in values if is_number(value) and value]
    typical = math.exp(math.fsum(sizes) / len(sizes)) if sizes else 1.0
    prefixes = _PREFIXES[found.form]
    # Numbers are rounded when printed: 999.7 us is 1.00 ms.
    fitting = [(size, prefix) for size, prefix in prefixes if size <= typical * 1.0005]
    size, prefix = fitting[-1] if fitting else prefixes[0]
    return Scale(size=size, unit=prefix + found.unit)


def format_value(metric: str, value: object) -> str:
    """Return a value of a metric for people, with its unit: ``16.0 ms``, ``28.1 MiB``, ``81.3 %``; empty if missing.

    Raises:
        KeyError: there is no such metric.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if not is_number(value):
        return ""
    unit = scale(metric, [value])
    number = str(int(value)) if _is_count(metric, value) else unit.number(value)
    return f"{number} {unit.unit}".rstrip()


def format_interval(metric: str, value: object, low: object, high: object) -> str:
    """Return a value with its interval in one unit, ``16.0 ms [15.8, 16.3]``; without one, the value alone.

    Raises:
        KeyError: there is no such metric.
    """
    if not (is_number(value) and is_number(low) and is_number(high)):
        return format_value(metric, value)
    unit, half_width = scale(metric, [value]), (high - low) / 2
    decimals = unit.decimals(value, half_width=half_width)
    ends = ", ".join(f"{end / unit.size:.{decimals}f}" for end in (low, high))
    return " ".join(filter(None, (unit.number(value, half_width=half_width), unit.unit, f"[{ends}]")))


def _is_count(metric: str, value: float) -> bool:
    return METRICS[metric].form is Form.PLAIN and not METRICS[metric].unit and float(value).is_integer()


def _magnitude(value: float, *, digits: int) -> int:
    """Return the exponent of ten of a number once it is rounded: 1 for 9.996 to three digits."""
    if not value or math.isinf(value):
        return digits - 1
    return int(f"{abs(value):.{digits - 1}e}".split("e")[1])
