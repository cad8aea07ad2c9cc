"""What the scripts of a page read: its rows in columns, numbers in the metrics' own units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attnbench import inert
from attnbench.metrics import METRICS, Better, Form, Needs, is_number, scale
from attnbench.report.attained import attained, is_placed, roof_over
from attnbench.report.html.charts import charts
from attnbench.report.html.facets import facets
from attnbench.report.html.shipped import ShippedRows
from attnbench.report.palette import Style, built_in, styles, who
from attnbench.roofline import MachineLimits

_DIGITS = 6
"""Of a number: more than is printed or drawn."""
_STROKE = 2.0
"""Width of a line in pixels: dashes are said in widths."""
_BETTER = {Better.LOWER: 1, Better.HIGHER: -1, Better.NEITHER: 0}
_SHAPES = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "M-1,-.6L-.6,-1L0,-.4L.6,-1L1,-.6L.4,0L1,.6L.6,1L0,.4L-.6,1L-1,.6L-.4,0Z",
    "<": "triangle-left",
    ">": "triangle-right",
    "p": "M0,-1L.95,-.31L.59,.81L-.59,.81L-.95,-.31Z",
    "h": "M0,-1L.87,-.5L.87,.5L0,1L-.87,.5L-.87,-.5Z",
}
"""What the plots' markers are called, or a path in the square from -1 to 1."""


def payload(page: ShippedRows, limits: Mapping[str, MachineLimits]) -> dict[str, Any]:
    """Return the data of a page, rows in the order of its table.

    Args:
        page: its rows.
        limits: of the machines, by ``environment_id``.
    """
    frame = page.findings.rows
    places = [row.place for row in page.rows]
    looks = styles(who(frame), first=built_in())
    sizes = {(row.height, row.width): row.resolution for row in page.rows}
    numbered = {size: number for number, size in enumerate(sizes)}
    labels = {label: number for number, label in enumerate(dict.fromkeys(frame["label"]))}
    label_of, status_of = frame["label"].tolist(), frame["status"].tolist()
    named = [
        {"name": name, "side": _short((height * width) ** 0.5), "shape": _short(height / width)}
        for (height, width), name in sizes.items()
    ]
    return {
        "labels": [_label(label, looks[label], page.findings.baselines) for label in labels],
        "settings": [inert.line(name) for name in page.settings],
        "axes": facets(page),
        "sizes": named,
        "charts": charts(named),
        "metrics": [_metric(name, page) for name in _shown(page)],
        "rows": {
            "label": [labels[label_of[place]] for place in places],
            "size": [numbered[row.height, row.width] for row in page.rows],
            "setting": [row.setting for row in page.rows],
            "status": [inert.line(status_of[place] or "") for place in places],
            "listed": [number for number, row in enumerate(page.rows) if row.listed],
            "failures": {
                number: inert.line(row.line.failure)
                for number, row in enumerate(page.rows)
                if row.line.failure and not row.listed
            },
        },
        "values": {name: _values(name, page, places) for name in _shown(page)},
        "roofline": _roofline(page, places, limits),
    }


def _shown(page: ShippedRows) -> Sequence[str]:
    sheets = page.findings.book.sheets
    return list(sheets[0].measures) if sheets else []


def _label(label: str, style: Style, baselines: Iterable[str]) -> dict[str, Any]:
    return {
        "name": label,
        "color": style.color,
        "ink": style.ink,
        "shape": _SHAPES[style.marker],
        "dash": [_STROKE * length for length in style.dash] or [1, 0],
        "filled": style.filled,
        "baseline": label in baselines,
    }


def _metric(name: str, page: ShippedRows) -> dict[str, Any]:
    found = METRICS[name]
    unit = scale(name, page.findings.rows[name])
    return {
        "name": name,
        "label": found.label.partition(" (")[0],
        "title": found.plot.title if found.plot and not found.plot.against else _title(found.label),
        "unit": unit.unit,
        "size": unit.size,
        "better": _BETTER[found.better],
        "binary": found.form is Form.BINARY,
        "drawn": found.plot is not None,
        "learned": found.needs is Needs.ACCURACY,
        "limited": found.better is not Better.NEITHER and not (found.ratio_of or found.inverse_of or found.unit_of),
    }


def _title(label: str) -> str:
    words = label.partition(" (")[0]
    return f"{words[:1].upper()}{words[1:]}"


def _values(name: str, page: ShippedRows, places: Sequence[int]) -> dict[str, list[Any]]:
    """Return a metric's column: values, both ends of their intervals if it has any, and which rows are not ranked."""
    frame, found = page.findings.rows, METRICS[name]
    ends = dict(zip(("low", "high"), found.ends, strict=False))
    columns = {key: frame[column].tolist() for key, column in {"value": name, **ends}.items()}
    doubted = frame[list(found.doubted_by)].astype(bool).any(axis=1).tolist()
    entries = [(number, row.line.entries.get(name)) for number, row in enumerate(page.rows) if not row.listed]
    return {key: [_short(column[place]) for place in places] for key, column in columns.items()} | {
        "doubted": [number for number, place in enumerate(places) if doubted[place]],
        "best": [number for number, entry in entries if entry and entry.best],
        "second": [number for number, entry in entries if entry and entry.second],
    }


def _roofline(page: ShippedRows, places: Sequence[int], limits: Mapping[str, MachineLimits]) -> dict[str, Any]:
    """Return the roof over each set of conditions, null where it is not known, and the place of each row under it."""
    frame = page.findings.rows
    of_setting: list[list[int]] = [[] for _ in page.settings]
    for row in page.rows:
        of_setting[row.setting].append(row.place)
    roofs = [roof_over(frame.iloc[each], limits) for each in of_setting]
    if not any(roofs):
        return {"roofs": []}
    unit = scale("macs", [roof.rate for roof in roofs if roof])
    rows: list[dict[str, Any]] = frame.to_dict("records")  # type: ignore[assignment]  # names of columns are texts
    points = [attained(rows[place]) if is_placed(rows[place]) else None for place in places]
    fields = ("intensity", "rate", "low", "high")
    return {
        "unit": f"{unit.unit}/s",
        "size": unit.size,
        "roofs": [
            roof
            and {
                "dtype": roof.dtype,
                "rate": roof.rate,
                "bandwidth": roof.bytes_per_s,
                "conditions": inert.line(roof.conditions),
            }
            for roof in roofs
        ],
        **{name: [point and _short(getattr(point, name)) for point in points] for name in fields},
        "doubted": [bool(point and point.doubted) for point in points],
    }


def _short(value: object) -> float | None:
    if not is_number(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{_DIGITS}g}")
