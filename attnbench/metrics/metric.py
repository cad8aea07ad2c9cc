"""What there is to know of a metric: how it is printed, compared, ranked and shown, and what it takes to measure it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Better(StrEnum):
    """Which way a metric improves."""

    LOWER = "lower"
    HIGHER = "higher"
    NEITHER = "neither"


class Form(StrEnum):
    """How a metric's numbers are printed."""

    PLAIN = "plain"
    DECIMAL = "decimal"
    """Powers of 1000 upwards: k, M, G, T."""
    TIME = "time"
    """Powers of 1000 downwards: ms, µs, ns."""
    BINARY = "binary"
    """Powers of 1024: KiB, MiB, GiB."""
    PERCENT = "percent"
    """A fraction, printed times 100."""
    PARTS = "parts"
    """A fraction that may be small: billionths, millionths, hundredths."""


class Needs(StrEnum):
    """How far a cell must be run for a metric to be known, the least first."""

    COUNTS = "counts"
    MEMORY = "memory"
    LATENCY = "latency"
    ENERGY = "energy"
    ACCURACY = "accuracy"


class Compared(StrEnum):
    """How two runs of one cell are compared by a metric."""

    EXACT = "exact"
    """They must agree to the last digit, wherever they ran."""
    RATIO = "ratio"
    """By the interval of head / base, on machines that agree."""
    DIFFERENCE = "difference"
    """By the interval of head - base, on any machine."""
    NOT = "not"


class Crossings(StrEnum):
    """Where crossovers of a metric over resolution are told."""

    REPORT = "report"
    """In the report and in ``crossovers.csv``."""
    FILE = "file"
    """In ``crossovers.csv`` alone."""
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """How a metric is drawn.

    Example:
        >>> Plot(name="pareto", title="Accuracy against latency", against="latency_median_s").against
        'latency_median_s'
    """

    name: str
    """First part of the file's name."""
    title: str
    against: str = ""
    """Metric that it is drawn against; empty for the resolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """How a metric is read.

    Example:
        >>> from attnbench.metrics import METRICS
        >>> METRICS["latency_median_s"].low
        'latency_ci_low_s'
        >>> METRICS["macs"].compared
        <Compared.EXACT: 'exact'>
    """

    unit: str = ""
    label: str
    heading: str = ""
    """What its column is called in tables; empty if it has none there."""
    explained: bool = False
    """Whether the heading says so little that tables give the label too."""
    form: Form = Form.PLAIN
    better: Better = Better.NEITHER
    low: str = ""
    """Metric that is the lower end of its 95 % interval; empty if it has none."""
    high: str = ""
    per_seed: str = ""
    """Metric that has the values of the seeds that it is the mean of, in a text; empty if it is no such mean."""
    limits: tuple[float, ...] = (0,)
    """Values on either side of which a reader understands different things: no shortened interval reaches over one."""
    compared: Compared = Compared.NOT
    alike: str = ""
    """Metric whose text must be the same in both runs for the two values to be compared; empty for none."""
    depends_on: tuple[str, ...] = ()
    """Fields of the environment that must agree for an exact metric to be the same."""
    needs: Needs = Needs.COUNTS
    unit_of: str = ""
    """Metric whose unit the column shares, so that the two can be set against each other."""
    ratio_of: str = ""
    """Metric of which it is the ratio to the baseline's, taken within each round."""
    inverse_of: str = ""
    """Metric that it is a constant over: its interval follows from that one's."""
    of_one_run: bool = False
    """Whether it is ranked only among rows that one run timed."""
    doubted_by: tuple[str, ...] = ("suspicious",)
    """Metrics that say, where they are not empty, what speaks against the value: it is neither ranked nor compared."""
    budget: str = ""
    """What a limit of it is called on the command line; empty if none can be given."""
    gives_way: int | None = None
    """Rank in which its column goes when a screen is too narrow, the lowest first; None for a column that stays."""
    plot: Plot | None = None
    crossings: Crossings = Crossings.NOWHERE

    @property
    def ends(self) -> tuple[str, ...]:
        """The metrics of its interval: lower end and upper, none if it has no interval."""
        return (self.low, self.high) if self.low else ()

    @property
    def says_of(self) -> str:
        """The metric that says with an interval of two mechanisms in one setting what this one says; empty if none."""
        return self.ratio_of or self.inverse_of

    @property
    def unit_in_file(self) -> str:
        """What a number in ``records.csv`` counts."""
        of_no_unit = {Form.PERCENT: "fraction", Form.PARTS: "fraction", Form.DECIMAL: "count"}
        return self.unit or of_no_unit.get(self.form, "ratio" if self.ratio_of else "")
