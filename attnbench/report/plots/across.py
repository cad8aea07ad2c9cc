"""The axis of resolutions: logarithmic, by number of pixels, the mechanisms beside each other at each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.axes import Axes

from attnbench.report.comparison import resolution
from attnbench.report.plots.canvas import TICK_SIZE, box_of, text_width
from attnbench.report.plots.series import Size

WIDTH = 5.0
"""Inches of the axis."""
_STEP = 0.075
"""Inches between mechanisms at one resolution."""
_PAD = 0.06
"""How far the axis goes beyond its resolutions, as a share of the way between them."""
_OF_PAD, _OF_GAP = 0.7, 0.18
"""How far a mechanism may stand from its resolution: shares of what lies beyond, and of the way to the next."""


def pixels_of(size: Size) -> int:
    """Return the pixels of an image."""
    return size[0] * size[1]


def aside(labels: Sequence[str], baseline: str, ticks: Mapping[int, str]) -> dict[str, float]:
    """Return by which factor each label stands beside its resolution, so that none hides another's interval.

    The order is that of the labels, but that the baseline is in the middle and so at its resolution.
    """
    others = [label for label in labels if label != baseline]
    half = len(others) // 2
    order = [*others[:half], baseline, *others[half:]] if baseline in labels else others
    middle = half if baseline in labels else (len(order) - 1) / 2
    most = max(middle, len(order) - 1 - middle, 1)
    low, high = _ends(ticks)
    ways = [math.log(right / left) for left, right in pairwise(sorted(ticks))]
    pad = math.log(min(ticks) / low)
    step = min([_STEP * math.log(high / low) / WIDTH, _OF_PAD * pad / most, *(_OF_GAP * way / most for way in ways)])
    return {label: math.exp(step * (place - middle)) for place, label in enumerate(order)}


def names_of(sizes: Sequence[Size]) -> dict[int, str]:
    """Return by number of pixels how the resolutions are called; those with equally many share a tick."""
    named: dict[int, list[str]] = {}
    for size in sizes:
        named.setdefault(pixels_of(size), []).append(resolution(*size))
    return {pixels: "\n".join(names) for pixels, names in named.items()}


def _ends(ticks: Mapping[int, str]) -> tuple[float, float]:
    pad = (max(ticks) / min(ticks)) ** _PAD if len(ticks) > 1 else 1.5
    return min(ticks) / pad, max(ticks) * pad


def crowded(ticks: Mapping[int, str]) -> bool:
    """Say whether the names of the resolutions would run into each other if they stood side by side."""
    low, high = _ends(ticks)
    middles = [WIDTH * math.log(pixels / low) / math.log(high / low) for pixels in ticks]
    halves = [text_width([name], size=TICK_SIZE) / 2 + 0.04 for name in ticks.values()]
    spans = [(middle - half, middle + half) for middle, half in zip(middles, halves, strict=True)]
    return any(left[1] > right[0] for left, right in pairwise(spans))


def mark(axes: Axes, ticks: Mapping[int, str], *, upright: bool) -> None:
    """Mark the resolutions that were run. Upright names that would still overlap the one before are left out."""
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xlim(*_ends(ticks))
    axes.set_xticks(list(ticks), list(ticks.values()), rotation=90 if upright else 0)
    axes.set_xlabel("side, or height x width, of the image in pixels (spaced by area)")
    edge = -math.inf
    for label in axes.get_xticklabels() if upright else []:
        box = box_of(label)
        label.set_visible(bool(box.x0 > edge))
        edge = max(edge, box.x1) if label.get_visible() else edge
