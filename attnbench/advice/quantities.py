"""Quantities as people write them, in the unit of their metric: 500ms, 2GiB, 30M, 80 %."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from attnbench.metrics import METRICS, Form

_DECIMAL = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_JOULES = {"nj": 1e-9, "uj": 1e-6, "µj": 1e-6, "mj": 1e-3, "j": 1.0, "kj": 1e3}
_BYTES = {
    "b": 1.0,
    **{f"{prefix}b": 1e3**power for power, prefix in enumerate("kmgt", start=1)},
    **{f"{prefix}ib": 2.0 ** (10 * power) for power, prefix in enumerate("kmgt", start=1)},
}
_WRITTEN = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(\S*)\s*")
_EXAMPLES = {"s": "500ms or 1.5s", "B": "500MB or 2GiB", "J": "30mJ or 2J"}


def quantity(text: str, metric: str) -> float:
    """Read a quantity in the unit of a metric; a percentage as the fraction that it is.

    Args:
        text: as it is written.
        metric: name of a metric that is a number.

    Raises:
        ValueError: it is none; says what would do.

    Example:
        >>> quantity("500ms", "latency_median_s"), quantity("2GiB", "memory_peak_bytes")
        (0.5, 2147483648.0)
        >>> quantity("80", "accuracy_top1")
        0.8
    """
    found, such_as = METRICS[metric], example(metric)
    units = _units(found.form, found.unit)
    match = _WRITTEN.fullmatch(text)
    unit = match[2].lower() if match else ""
    if match is None or unit not in units:
        raise ValueError(f"expected {found.label.partition(' (')[0]} such as {such_as}, got {text!r}")
    value = float(match[1]) * units[unit]
    if not 0 < value < math.inf:
        raise ValueError(f"expected a number above 0, such as {such_as}, got {text!r}")
    if found.form is Form.PERCENT and not 0.01 <= value <= 1:
        raise ValueError(f"expected per cent from 1 to 100, such as {such_as}, got {text!r}")
    return value


def example(metric: str) -> str:
    """Return how a quantity of a metric may be written."""
    found = METRICS[metric]
    if found.form is Form.PERCENT:
        return "80 for 80 %"
    return _EXAMPLES.get(found.unit, "30M or 4.5G" if found.form is Form.DECIMAL else "100")


def _units(form: Form, unit: str) -> Mapping[str, float]:
    """Return what may stand behind a number, in small letters."""
    if form is Form.PERCENT:
        return {"": 0.01, "%": 0.01}
    if form is Form.BINARY:
        return _BYTES
    if form is Form.TIME:
        return _SECONDS if unit == "s" else _JOULES
    own = unit.lower()
    sizes = _DECIMAL if form is Form.DECIMAL else {"": 1.0}
    return {**sizes, **{f"{prefix}{own}": size for prefix, size in sizes.items()}}
