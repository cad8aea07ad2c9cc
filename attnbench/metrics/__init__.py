"""Every metric a record can hold: the table of them (``table``), and how their numbers are printed (``printing``)."""

from attnbench.metrics.metric import Better, Compared, Crossings, Form, Metric, Needs, Plot
from attnbench.metrics.printing import Scale, format_interval, format_value, is_number, scale
from attnbench.metrics.table import COLUMNS, METRICS, compared, crossed_in, drawn, of

__all__ = [
    "COLUMNS",
    "METRICS",
    "Better",
    "Compared",
    "Crossings",
    "Form",
    "Metric",
    "Needs",
    "Plot",
    "Scale",
    "compared",
    "crossed_in",
    "drawn",
    "format_interval",
    "format_value",
    "is_number",
    "of",
    "scale",
]
