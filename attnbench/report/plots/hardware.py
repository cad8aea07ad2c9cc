"""A quantity against resolution on several machines: a panel each, side by side on one axis of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnbench.report.placement import log_ticks
from attnbench.report.plots.across import mark, names_of, pixels_of
from attnbench.report.plots.canvas import SMALL, TICK_SIZE, bare, cross_out, handle, sheet, text_width
from attnbench.report.plots.series import Series, Size, axis_label, title_of, unit_of

MOST_PANELS = 6
_WIDTH, _HEIGHT, _GAP, _ABOVE = 2.5, 3.2, 0.22, 0.28
_ROOM = 1.15
"""By which factor the axis of values goes beyond its points."""


def panels(found: Mapping[str, Sequence[Series]], metric: str, sizes: list[Size], subtitle: str) -> Figure | None:
    """Return the plot, None if fewer than two machines have anything to show.

    Args:
        found: series by machine, the same look for the same mechanism.
        metric: what is drawn.
        sizes: of the images.
        subtitle: what all have in common.
    """
    shown = {name: [each for each in series if each.points] for name, series in found.items()}
    shown = dict([(name, series) for name, series in shown.items() if series][:MOST_PANELS])
    if len(shown) < 2:
        return None
    everything = [each for series in shown.values() for each in series]
    labels = {each.label: each.style for each in everything}
    ticks, unit = names_of(sizes), unit_of(everything, metric)
    grid = sheet(
        f"{title_of(metric)}, machine by machine",
        subtitle,
        width=_WIDTH * len(shown) + _GAP * (len(shown) - 1),
        height=_HEIGHT,
        right=0.75 + text_width(labels),
        above=_ABOVE,
        below=0.5 + text_width(ticks.values(), size=TICK_SIZE),
    )
    values = [end / unit.size for each in everything for point in each.points for end in (point.low, point.high)]
    low, high = min(values) / _ROOM, max(values) * _ROOM
    whole = grid.axes.get_position()
    grid.axes.remove()
    step = whole.width / (len(shown) + _GAP / _WIDTH * (len(shown) - 1))
    for place, (name, series) in enumerate(shown.items()):
        left = whole.x0 + place * step * (1 + _GAP / _WIDTH)
        axes = grid.figure.add_axes((left, whole.y0, step, whole.height))
        bare(axes)
        _draw(axes, series, unit.size)
        mark(axes, ticks, upright=True)
        axes.set_xlabel("side in pixels")
        axes.set_title(_cut(name), fontsize=SMALL, loc="left")
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.set_ylim(low, high)
        up = log_ticks(low, high)
        axes.set_yticks(up, [format(tick, ".10g") for tick in up] if not place else [""] * len(up))
        axes.grid(axis="y", linewidth=0.5, alpha=0.5)
        if not place:
            axes.set_ylabel(axis_label(metric, unit))
    axes.legend(
        handles=[handle(label, style) for label, style in labels.items()],
        loc="upper left",
        bbox_to_anchor=(1.02, 1.02),
        frameon=False,
        fontsize=SMALL,
        borderaxespad=0,
    )
    return grid.figure


def _draw(axes: Axes, series: Sequence[Series], unit: float) -> None:
    for each in series:
        across = [pixels_of(point.size) for point in each.points]
        up = [point.value / unit for point in each.points]
        line = handle(each.label, each.style)
        line.set_data(across, up)
        axes.add_line(line)
        below = [(point.value - point.low) / unit for point in each.points]
        above = [(point.high - point.value) / unit for point in each.points]
        if any(below) or any(above):
            axes.errorbar(across, up, yerr=(below, above), fmt="none", ecolor=each.style.color, elinewidth=1, capsize=2)
        doubted = [place for place, point in enumerate(each.points) if point.size in each.doubted]
        cross_out(axes, [across[place] for place in doubted], [up[place] for place in doubted])


def _cut(name: str) -> str:
    most = 34
    return name if len(name) <= most else f"{name[: most - 3]}..."
