"""What a claim is: one figure that somebody stated, and how it is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from attnbench.axes import AXES, texts

UNITS: Mapping[str, float] = {
    "": 1.0, "x": 1.0, "img/s": 1.0, "MACs": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "ms": 1e-3, "s": 1.0, "%": 0.01,
    "MiB": 2.0**20, "GB": 1e9,
}  # fmt: skip
"""Units that a claim may be stated in, each in the unit of its metric."""
AXES_OF_A_CHECK = tuple(name for name in AXES if name not in {"scope", "dim", "heads", "device", "threads"})
"""Axes that a check may ask something of as a sweep does; of others it says it in its own way, or whoever asks does."""
_USUAL = {"res": "224", "depth": "1"}
CERTAINTIES = ("verbatim", "secondary", "derived")


class Relation(StrEnum):
    """What a claim says of its figure."""

    EQUAL = "equal"
    AT_LEAST = "at least"
    AT_MOST = "at most"
    ABOVE = "above"
    """The whole interval lies above the figure."""
    BELOW = "below"


class Take(StrEnum):
    """Which figure is taken from what a check measures."""

    VALUE = "value"
    LARGEST = "largest"
    SMALLEST = "smallest"
    EXPONENT = "exponent"
    """Of the growth: along an option, or against a formula over the sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How a claim is measured: the axes of a sweep, and what is made of its records."""

    metric: str
    mechanism: str = ""
    """Mechanism with its options, or empty for a network."""
    network: str = ""
    over: str = ""
    """The other side of a ratio, of the same kind; timed in turn with the first."""
    less: str = ""
    """Metric that is taken off, such as ``macs_attention`` where a paper leaves the products out."""
    plus: str = ""
    """Metric that is added, such as ``ops_elementwise`` where a paper's counter counts norms too."""
    formula: str = ""
    """What the paper prints, in N, H, W, C, h, d and ``symbols``."""
    left_out: str = ""
    """What is in the measured figure and not in the formula, in the same symbols."""
    symbols: tuple[tuple[str, float], ...] = ()
    """Further symbols of the formula."""
    along: str = ""
    """Option that both sides are given in turn, where they have it."""
    values: tuple[str, ...] = ()
    """Of that option."""
    take: Take = Take.VALUE
    scope: str = ""
    dim: tuple[int, ...] = ()
    head_dim: int = 0
    """Channels of a head, where a layer's heads are not the stage's."""
    axes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What is asked of other axes, each by its option with its values as written; see ``attnbench.axes``."""

    @classmethod
    def of(cls, **given: Any) -> Check:  # noqa: ANN401 - each field and each axis has its own kind
        """Return a check from names as a ledger has them, axes and others together."""
        axes = tuple((name, texts(given.pop(name))) for name in AXES_OF_A_CHECK if name in given)
        return cls(axes=axes, **given)

    def written(self, option: str) -> tuple[str, ...]:
        """Return the values of an axis as they were written, what is usual in claims if none were."""
        usual = _USUAL.get(option, AXES[option].usual)
        return dict(self.axes).get(option, (usual,) if usual else ())

    @property
    def wanted(self) -> tuple[str, ...]:
        """The sides, as written."""
        return tuple(filter(None, (self.mechanism or self.network, self.over)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a figure may differ, and the check under which it must not if that is why."""

    says: str
    check: Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One figure that somebody stated."""

    id: str
    says: str
    quantity: str
    value: Decimal | str
    """The figure as printed, its last digit telling how exact it is; a formula as text."""
    unit: str = ""
    conditions: str = ""
    source: str
    certainty: str
    """``verbatim`` from the paper or its code, ``secondary`` from who quotes it, ``derived`` from what it prints."""
    relation: Relation = Relation.EQUAL
    check: Check | None = None
    reasons: tuple[Reason, ...] = ()
    hardware: str = ""
    """GPU that the figure was measured on, empty if it depends on none."""
    data: str = ""
    """Data set that the figure needs."""
    missing: str = ""
    """What the source does not say, without which nobody can check the figure."""
    beside: str = ""
    """What is known of how the source counted, shown with a verdict that differs; no check tests it."""
    would: str = ""
    """What would check it, where no command of attnbench does."""
    plot: str = ""
    """Name of the plot that shows the figure, for those that vary along an option."""
    mechanism: str = ""
    """Whose ledger it stands in."""

    @property
    def tolerance(self) -> float:
        """Half of the last digit printed, in the claim's unit; 0 for a formula."""
        if isinstance(self.value, str):
            return 0.0
        return 0.5 * 10.0 ** int(self.value.as_tuple().exponent)
