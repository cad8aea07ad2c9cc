"""What the page draws, as Vega-Lite specifications; the scripts add the rows, the looks of mechanisms and the units.

Fields have names of ours: no text of strangers is anything but a value in the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Spec = dict[str, Any]

_GRID, _INK = "#E3E3E3", "#444444"
_LANE, _BESIDE = 13, 8
"""Height of a line of cells that did not run, and room beside what is written, in pixels."""
_INKED: Spec = {"field": "ink", "type": "nominal", "scale": None}
"""Text in a mechanism's colour, dark enough to be read."""
_CROSS = "M-1,-1L1,1M-1,1L1,-1"
_NAME = 120
"""Widest name beside a mark, in pixels."""
CONFIG: Spec = {
    "font": "system-ui, Segoe UI, Helvetica Neue, Arial, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelColor": _INK,
        "titleColor": _INK,
        "gridColor": _GRID,
        "domainColor": _INK,
        "tickColor": _INK,
    },
}


def charts(sizes: Sequence[Mapping[str, Any]]) -> dict[str, Spec]:
    """Return the specifications by name.

    Args:
        sizes: resolutions with their ``name`` and ``side``, as the page's data has them.
    """
    return {"config": CONFIG, "curve": _curve(sizes), "dots": _dots(), "front": _front(), "roofline": _roofline()}


def _curve(sizes: Sequence[Mapping[str, Any]]) -> Spec:
    """Return a quantity against resolution: bands are intervals, crosses above the edge cells that did not run."""
    across = {
        "field": "side",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 14},
        "axis": {
            "title": "resolution (pixels a side)",
            "values": [size["side"] for size in sizes],
            "labelExpr": _names_of(sizes),
            "labelOverlap": "greedy",
            "grid": False,
        },
    }
    value = {"field": "value", "type": "quantitative", "scale": {"type": "log", "nice": False, "padding": 8}}
    ends = {"y": value | {"field": "low"}, "y2": {"field": "high"}}
    line = {"y": value, "detail": {"field": "shape"}}
    shown = [
        {"mark": {"type": "area", "opacity": 0.16}, "encoding": ends | {"detail": {"field": "shape"}}},
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": line | {"strokeDash": _look("dash")}},
        {"mark": {"type": "rule", "strokeWidth": 1.2}, "encoding": ends},
        _points({"y": value}),
        _crossed_out({"y": value}),
    ]
    above: Spec = {"y": {"field": "lane", "type": "quantitative", "scale": None, "axis": None}}
    named = {
        "mark": _text(_BESIDE),
        "encoding": above | {"x": {"value": {"expr": "width"}}, "text": _field("said"), "color": _INKED},
    }
    crosses = {
        "mark": {"type": "point", "size": 50, "strokeWidth": 2, "shape": _CROSS, "aria": False},
        "encoding": above | {"tooltip": _field("said")},
    }
    return {
        "height": 260,
        "encoding": {"x": across, "color": _look("color")},
        "layer": [
            {"data": {"name": "rows"}, "layer": shown},
            {"data": {"name": "failures"}, "layer": [crosses]},
            {"data": {"name": "lanes"}, "layer": [named]},
        ],
        "resolve": {"scale": {"y": "independent"}},
    }


def _dots() -> Spec:
    """Return a quantity at one resolution, a line for each mechanism."""
    up = {"field": "label", "type": "nominal", "sort": None, "axis": {"title": None, "labelLimit": _NAME}}
    value = {"field": "value", "type": "quantitative", "scale": {"type": "log", "nice": False, "padding": 14}}
    ends = {"x": value | {"field": "low"}, "x2": {"field": "high"}}
    failed = {"mark": _text(4), "encoding": {"x": {"value": 0}, "text": _field("status"), "color": _INKED}}
    return {
        "height": {"step": 22},
        "encoding": {"y": up, "color": _look("color")},
        "layer": [
            {
                "data": {"name": "rows"},
                "layer": [
                    {"mark": {"type": "rule", "strokeWidth": 1.6}, "encoding": ends},
                    _points({"x": value}),
                    _crossed_out({"x": value}),
                ],
            },
            {"data": {"name": "failures"}, "layer": [failed]},
        ],
    }


def _front() -> Spec:
    """Return one quantity against another: who is on the Pareto front is opaque, who certainly is not is faint."""
    scale = {"type": "log", "nice": False, "padding": 20}
    x, y = ({"field": name, "type": "quantitative", "scale": scale} for name in ("x", "y"))
    faint = {"field": "opacity", "type": "quantitative", "scale": None, "legend": None}
    across = {"x": x | {"field": "x_low"}, "x2": {"field": "x_high"}, "y": y}
    upward = {"x": x, "y": y | {"field": "y_low"}, "y2": {"field": "y_high"}}
    step = {"type": "line", "interpolate": "step-after", "color": "#999999", "strokeDash": [3, 3], "strokeWidth": 1}
    return {
        "height": 320,
        "data": {"name": "rows"},
        "layer": [
            {"transform": [{"filter": "datum.place === 'on it'"}], "mark": step, "encoding": {"x": x, "y": y}},
            {
                "encoding": {"color": _look("color"), "opacity": faint},
                "layer": [
                    {"mark": {"type": "rule"}, "encoding": across},
                    {"mark": {"type": "rule"}, "encoding": upward},
                    _points({"x": x, "y": y}),
                ],
            },
            {
                "mark": _text(_BESIDE, dy=-8),
                "encoding": {"x": x, "y": y, "text": _field("label"), "color": _INKED},
            },
        ],
    }


def _roofline() -> Spec:
    """Return what calls attained under what the machine could do: intensity across, multiply-adds per second up."""
    scale = {"type": "log", "nice": False, "padding": 16}
    x = {
        "field": "intensity",
        "type": "quantitative",
        "scale": scale,
        "axis": {
            "title": "arithmetic intensity (MACs per byte that must move)",
            "format": "~r",
            "tickCount": 6,
            "labelOverlap": "greedy",
        },
    }
    y = {"field": "rate", "type": "quantitative", "scale": scale, "axis": {"format": "~r", "tickCount": 6}}
    roof = {"type": "line", "color": "#222222", "strokeWidth": 1.6}
    line = {"type": "line", "strokeWidth": 1, "opacity": 0.5}
    return {
        "height": 320,
        "layer": [
            {"data": {"name": "roof"}, "mark": roof, "encoding": {"x": x, "y": y}},
            {
                "data": {"name": "roof"},
                "mark": _text(_BESIDE, dy=-9) | {"limit": 3 * _NAME},
                "encoding": {"x": x, "y": y, "text": _field("said")},
            },
            {
                "data": {"name": "rows"},
                "encoding": {"color": _look("color"), "x": x},
                "layer": [
                    {"mark": line, "encoding": {"y": y, "detail": {"field": "label"}, "order": {"field": "side"}}},
                    {"mark": {"type": "rule"}, "encoding": {"y": y | {"field": "low"}, "y2": {"field": "high"}}},
                    _points({"x": x, "y": y}),
                    _crossed_out({"x": x, "y": y}),
                ],
            },
        ],
    }


def _points(places: Mapping[str, Any]) -> Spec:
    looks = {"shape": _look("shape"), "fill": _look("fill")}
    mark = {"type": "point", "size": 46, "opacity": 1, "strokeWidth": 1.4}
    return {"mark": mark, "encoding": {**places, **looks, "tooltip": _field("said")}}


def _crossed_out(places: Mapping[str, Any]) -> Spec:
    """Return crosses over the points that are not ranked."""
    mark = {"type": "point", "size": 90, "strokeWidth": 1.6, "shape": _CROSS, "aria": False}
    color = {"color": {"value": "#000000"}}
    return {"transform": [{"filter": "datum.doubted"}], "mark": mark, "encoding": {**places, **color}}


def _look(which: str) -> Spec:
    """Return a channel that the scripts give the looks of mechanisms for: ``scale`` names which of them."""
    return {"field": "label", "type": "nominal", "sort": None, "scale": {"look": which}, "legend": None}


def _field(name: str) -> Spec:
    return {"field": name, "type": "nominal"}


def _text(dx: int, *, dy: int = 0) -> Spec:
    return {"type": "text", "align": "left", "baseline": "middle", "dx": dx, "dy": dy, "fontSize": 11, "limit": _NAME}


def _names_of(sizes: Sequence[Mapping[str, Any]]) -> str:
    """Return the expression of a tick's name: only numbers, and ``x`` between two of them, come into it."""
    named = ", ".join(f"'{size['side']:.2f}': '{size['name']}'" for size in sizes)
    return f"{{{named}}}[format(datum.value, '.2f')] || ''"
