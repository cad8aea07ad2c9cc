"""Names beside lines and points, where they do not get into each other's way; otherwise a legend outside the axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from attnbench.report.palette import Style
from attnbench.report.placement import spread
from attnbench.report.plots.canvas import GREY, SMALL, box_of, handle

_POINT = 1 / 72
_GAP = 1.25 * SMALL
"""Least distance of two labels' middles, in points."""
_FARTHEST = 2.6 * _GAP
"""How far a label may stand from its line's end, in points; beyond that nobody finds it."""
_OFFSETS = ((9, 0), (9, 10), (9, -10), (-9, 0), (-9, 10), (-9, -10), (18, 0), (-18, 0), (0, 14), (0, -14))
"""Where a name may stand beside its point, in points, best first."""


_CLEARANCE = 1.5
"""Points that stay free around a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A label and the point, in data, that it belongs to."""

    text: str
    style: Style
    x: float
    y: float


def margin_has_room(names: int, height: float) -> bool:
    """Return whether so many names can stand under each other right of an axes of a height in inches."""
    return names * _GAP * _POINT <= height


def margin_names(axes: Axes, names: Sequence[Name]) -> bool:
    """Write names right of the axes, each as high as its point, and return whether they found room.

    A leader joins a name that had to make way to its point.
    """
    per_point = axes.figure.dpi * _POINT
    heights = [axes.transData.transform((name.x, name.y))[1] / per_point for name in names]
    box = axes.get_window_extent()
    found = spread(heights, gap=_GAP, low=box.y0 / per_point, high=box.y1 / per_point)
    if any(abs(place - height) > _FARTHEST for place, height in zip(found, heights, strict=True)):
        return False
    for name, place in zip(names, found, strict=True):
        end = ((box.x1 / per_point + 16) * per_point, place * per_point)
        _annotate(axes, name, end, leader=True, ha="left")
    return True


def free_names(axes: Axes, names: Sequence[Name], avoid: Iterable[Bbox]) -> bool:
    """Write names beside their points, clear of each other and of what is to be avoided; return whether all found room.

    Nothing is left behind if they did not.
    """
    per_point = axes.figure.dpi * _POINT
    taken, inside = list(avoid), axes.get_window_extent()
    written: list[Annotation] = []
    for name in names:
        x, y = axes.transData.transform((name.x, name.y))
        for across, up in _OFFSETS:
            align = "left" if across > 0 else "right" if across < 0 else "center"
            found = _annotate(axes, name, (x + across * per_point, y + up * per_point), leader=False, ha=align)
            box = box_of(found).padded(_CLEARANCE * per_point)
            if _within(box, inside) and not any(box.overlaps(other) for other in taken):
                written.append(found)
                taken.append(box)
                break
            found.remove()
        else:
            for each in written:
                each.remove()
            return False
    return True


def legend(axes: Axes, names: Sequence[Name], *, lines: bool = True) -> bool:
    """Show names in a legend right of the axes, in the order given: there is always room."""
    axes.legend(
        handles=[handle(name.text, name.style, line=lines) for name in names],
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0,
        frameon=False,
        fontsize=SMALL,
        handlelength=2.6,
        labelspacing=0.45,
    )
    return True


def _annotate(axes: Axes, name: Name, end: tuple[float, float], *, leader: bool, ha: str) -> Annotation:
    return axes.annotate(
        name.text,
        (name.x, name.y),
        xytext=tuple(axes.transAxes.inverted().transform(end)),
        textcoords="axes fraction",
        color=name.style.ink,
        size=SMALL,
        ha=ha,
        va="center",
        annotation_clip=False,
        arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 5, "relpos": (0, 0.5)}
        if leader
        else None,
    )


def _within(box: Bbox, other: Bbox) -> bool:
    return bool(other.x0 <= box.x0 and box.x1 <= other.x1 and other.y0 <= box.y0 and box.y1 <= other.y1)
