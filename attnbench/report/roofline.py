"""Roofline plots: how near each mechanism comes to what the machine could do at most, and which limit is in its way.

After Williams, Waterman and Patterson (CACM 52(4), 2009). Across, the multiply-adds of a call per byte that it must
move at least; up, those that it achieved per second. ``attnbench.roofline`` says how the roof can be pierced.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from attnbench.metrics import Scale, format_value, scale
from attnbench.report.artefacts import Apart, together
from attnbench.report.attained import Roof, RooflinePoint, attained, is_placed, roof_over
from attnbench.report.comparison import constants, resolution, sizes, split
from attnbench.report.palette import Style, built_in, styles, who
from attnbench.report.placement import log_ticks
from attnbench.report.plots import distinct, file_name, saved
from attnbench.report.plots.canvas import MARKER_SIZE, SMALL, bare, box_of, cross_out, handle, sheet, text_width
from attnbench.report.plots.labels import Name, free_names, legend
from attnbench.report.plots.saving import own_settings
from attnbench.report.plots.series import crossed_out
from attnbench.report.selection import MOST_SERIES, drawn_of
from attnbench.roofline import MachineLimits

_WIDTH, _HEIGHT = 5.6, 3.6
_BELOW_ROOF = 6
"""How far the slanted limit is shown at least, as a factor: room for its name."""
_HALF = 0.6 * MARKER_SIZE


def draw(
    rows: pd.DataFrame, limits: Mapping[str, MachineLimits], folder: Path, *, apart: Apart = together
) -> list[Path]:
    """Draw a roofline of every comparison whose machine's limits are known, as PNG and SVG, and return the files.

    The same rows give the same bytes.

    Args:
        rows: One per cost cell, prepared.
        limits: By ``environment_id``.
        folder: Where the files go; made if it is not there.
        apart: What each of them is made in.
    """
    return saved(distinct(figures(rows, limits, apart=apart)), folder, apart=apart)


def figures(
    rows: pd.DataFrame, limits: Mapping[str, MachineLimits], *, apart: Apart = together
) -> Iterator[tuple[str, Figure]]:
    """Yield every figure with the name of its file."""
    looks = styles(who(rows), first=built_in())
    for conditions, part in drawn_of(split(rows, of=rows)):
        roof, figure, name = roof_over(part, limits), None, file_name("roofline", *conditions)
        with own_settings(), apart(f"the plot {name}"):
            figure = None if roof is None else roofline(part, looks, roof)
        if figure is not None:
            yield name, figure


def roofline(rows: pd.DataFrame, looks: Mapping[str, Style], roof: Roof) -> Figure | None:
    """Return the roofline of prepared rows that share everything but mechanism and resolution.

    None if nothing was timed. A mechanism without multiply-adds has no place.
    """
    timed = rows[[is_placed(row) for _, row in rows.iterrows()]]
    if timed.empty:
        return None
    series = _foremost({str(label): _points(same) for label, same in timed.groupby("label", sort=False)})
    images = " to ".join(dict.fromkeys(resolution(*size) for size in (sizes(timed)[0], sizes(timed)[-1])))
    of_roof = [f"roof: {roof.conditions}"] if roof.conditions else []
    crossed = crossed_out(label for label, points in series.items() if any(point.doubted for point in points))
    found = sheet(
        "Roofline: the rate achieved and the rate within reach",
        "; ".join([", ".join([*constants(rows), f"{images} pixels"]), *of_roof, *crossed]),
        width=_WIDTH,
        height=_HEIGHT,
        right=0.75 + text_width(series),
    )
    _draw(found.axes, series, looks, roof)
    return found.figure


def _foremost(series: dict[str, list[RooflinePoint]]) -> dict[str, list[RooflinePoint]]:
    """Return as many mechanisms as one plot can show, those that achieve most at their largest image."""
    if len(series) <= MOST_SERIES:
        return series
    return dict(sorted(series.items(), key=lambda each: -each[1][-1].rate)[:MOST_SERIES])


def _points(rows: pd.DataFrame) -> list[RooflinePoint]:
    """Return a mechanism's calls, smallest image first."""
    ordered = rows.assign(area=rows["res_height"] * rows["res_width"]).sort_values("area", kind="stable")
    return [attained(row) for _, row in ordered.iterrows()]


def _draw(axes: Axes, series: Mapping[str, list[RooflinePoint]], looks: Mapping[str, Style], roof: Roof) -> None:
    unit = scale("macs", [roof.rate])
    points = [point for each in series.values() for point in each]
    _axes(axes, points, roof, unit)
    taken = [box for label, each in series.items() for box in _series(axes, label, each, looks[label], unit.size)]
    taken += _roof(axes, roof, unit.size, avoid=taken)
    names = [
        Name(text=label, style=looks[label], x=each[-1].intensity, y=each[-1].rate / unit.size)
        for label, each in series.items()
    ]
    if not free_names(axes, names, taken):
        legend(axes, sorted(names, key=lambda name: -name.y), lines=len(points) > len(series))


def _axes(axes: Axes, points: list[RooflinePoint], roof: Roof, unit: Scale) -> None:
    """Show every point, the ridge, and enough of the slant to name it."""
    across = (
        min(roof.ridge / _BELOW_ROOF, *(point.intensity / 2 for point in points)),
        max(roof.ridge * 2, *(point.intensity * 2 for point in points)),
    )
    up = (
        min(roof.rate / _BELOW_ROOF, *(point.low / 1.6 for point in points)) / unit.size,
        1.6 * max(roof.rate, *(point.high for point in points)) / unit.size,
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    bare(axes)
    for axis, ends in ((axes.xaxis, across), (axes.yaxis, up)):
        ticks = log_ticks(*ends)
        axis.set_ticks(ticks, labels=[format(tick, ".10g") for tick in ticks])
    axes.set_xlim(*across)
    axes.set_ylim(*up)
    axes.set_xlabel("arithmetic intensity (MACs per byte that must move)")
    axes.set_ylabel(f"multiply-adds achieved ({unit.unit}/s)")
    axes.grid(color="#E3E3E3", linewidth=0.7)


def _roof(axes: Axes, roof: Roof, unit: float, *, avoid: Sequence[Bbox]) -> list[Bbox]:
    """Draw both limits and name them; return what lines and names cover, in pixels."""
    across = (axes.get_xlim()[0], roof.ridge, axes.get_xlim()[1])
    up = [min(x * roof.bytes_per_s, roof.rate) / unit for x in across]
    axes.plot(across, up, color="black", linewidth=1.4, zorder=1.5)
    slant = _name_of_slant(axes, roof, unit)
    return [*_along(axes, across, up), slant, _name_of_flat(axes, roof, unit, avoid=[*avoid, slant])]


def _name_of_flat(axes: Axes, roof: Roof, unit: float, *, avoid: Sequence[Bbox]) -> Bbox:
    """Write the rate above the flat limit, at its right end or its left, or below it: wherever first there is room."""
    inside = axes.get_window_extent()
    for up in (0.75, -0.75):
        for x, align, shift in ((axes.get_xlim()[1], "right", -4), (roof.ridge, "left", 4)):
            found = axes.annotate(
                f"{roof.dtype}: {format_value('macs', roof.rate)}/s",
                (x, roof.rate / unit),
                xytext=(shift, up * SMALL),
                textcoords="offset points",
                size=SMALL,
                ha=align,
                va="center",
            )
            box = box_of(found)
            if box.x1 <= inside.x1 and not any(box.overlaps(other) for other in avoid):
                return box
            found.set_visible(False)
    found.set_visible(True)
    return box


def _name_of_slant(axes: Axes, roof: Roof, unit: float) -> Bbox:
    """Write the bandwidth along the slanted limit."""
    start = max(axes.get_xlim()[0], axes.get_ylim()[0] * unit / roof.bytes_per_s)
    middle = math.sqrt(start * roof.ridge)
    (x0, y0), (x1, y1) = axes.transData.transform([(x, x * roof.bytes_per_s / unit) for x in (start, roof.ridge)])
    found = axes.annotate(
        f"memory: {roof.bytes_per_s / 1e9:,.0f} GB/s",
        (middle, middle * roof.bytes_per_s / unit),
        xytext=(-0.5 * SMALL, 0.5 * SMALL),
        textcoords="offset points",
        size=SMALL,
        rotation=math.degrees(math.atan2(y1 - y0, x1 - x0)),
        rotation_mode="anchor",
        ha="center",
        va="center",
    )
    return box_of(found)


def _series(axes: Axes, label: str, points: list[RooflinePoint], style: Style, unit: float) -> list[Bbox]:
    """Draw a mechanism's points, and return what they cover."""
    across, up = [point.intensity for point in points], [point.rate / unit for point in points]
    line = handle(label, style)
    line.set_data(across, up)
    axes.add_line(line)
    doubted = [point for point in points if point.doubted]
    cross_out(axes, [point.intensity for point in doubted], [point.rate / unit for point in doubted])
    below = [(point.rate - point.low) / unit for point in points]
    above = [(point.high - point.rate) / unit for point in points]
    axes.errorbar(across, up, yerr=(below, above), fmt="none", ecolor=style.color, elinewidth=1.2, capsize=2.5)
    return _along(axes, across, up)


def _along(axes: Axes, across: Sequence[float], up: Sequence[float]) -> list[Bbox]:
    """Return small boxes along a line, in pixels."""
    corners = axes.transData.transform(list(zip(across, up, strict=True)))
    found = [corners[-1]]
    for start, end in pairwise(corners):
        steps = max(1, round(math.dist(start, end) / MARKER_SIZE))
        found += [start + (end - start) * step / steps for step in range(steps)]
    return [Bbox.from_extents(x - _HALF, y - _HALF, x + _HALF, y + _HALF) for x, y in found]
