"""What calls spend their time in: a bar a cell, its parts one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

from matplotlib.figure import Figure
from matplotlib.text import Text

from attnbench import inert
from attnbench.report.palette import COLORS
from attnbench.report.placement import linear_ticks
from attnbench.report.plots.canvas import SMALL, TICK_SIZE, bare, sheet, text_width
from attnbench.report.plots.saving import DPI, own_settings

_WIDTH, _ROW, _BAR = 5.2, 0.36, 0.62
_HATCHES = ("", "////")
"""Of the parts that have a colour of their own, and of those that share it with another."""


def parts(bars: Mapping[str, Mapping[str, float]], order: Sequence[str], subtitle: str) -> bytes:
    """Return a plot as PNG.

    Args:
        bars: seconds by part, by cell, at least one.
        order: of the parts, each with the same look in every plot.
        subtitle: what the cells have in common.
    """
    with own_settings():
        figure = _drawn(bars, order, subtitle)
        for text in figure.findobj(Text):
            text.set_text(inert.shown(text.get_text()))
        content = BytesIO()
        figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    return content.getvalue()


def _drawn(bars: Mapping[str, Mapping[str, float]], order: Sequence[str], subtitle: str) -> Figure:
    drawn = [part for part in order if any(part in each for each in bars.values())]
    found = sheet(
        "Where the time of a call goes, profiled",
        subtitle,
        width=_WIDTH,
        height=_ROW * len(bars) + 0.1,
        left=0.35 + text_width(bars, size=TICK_SIZE),
        right=0.5 + text_width(drawn),
        below=max(0.62, 0.2 * len(drawn) - _ROW * len(bars)),
    )
    axes = found.axes
    bare(axes)
    for part in drawn:
        place = order.index(part)
        axes.barh(
            range(len(bars)),
            [1e3 * each.get(part, 0.0) for each in bars.values()],
            left=[1e3 * sum(each.get(before, 0.0) for before in order[:place]) for each in bars.values()],
            height=_BAR,
            color=COLORS[(place + 1) % len(COLORS)],
            edgecolor="white",
            linewidth=0.6,
            hatch=_HATCHES[place // len(COLORS)],
            label=part,
        )
    most = 1.04e3 * max(sum(each.values()) for each in bars.values())
    axes.set_xlim(0, most)
    ticks = linear_ticks(0, most)
    axes.set_xticks(ticks, [format(tick, ".10g") for tick in ticks])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_yticks(range(len(bars)), list(bars))
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("ms a call")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.04), frameon=False, fontsize=SMALL, borderaxespad=0)
    return found.figure
