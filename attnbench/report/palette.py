"""How each mechanism looks: one colour and one marker, the same in every plot.

The colours are told apart with any common colour blindness, and the markers without any colour. Neither matplotlib
nor torch is imported here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from attnbench.plugins.registry import discover

COLORS = ("#656565", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4B0055")
"""Grey for what others are compared with, then Okabe and Ito's, those farthest apart first, with a dark purple for the
yellow that white paper swallows. Grey and purple are so dark that none of them is mistaken with a colour blindness."""
_AS_THEY_CAME = (
    *("mhsa", "hmhsa", "qna", "swin", "lavit", "sasa", "performer", "sra", "linear-sra"),
    *("twins", "maxvit", "xca", "linear", "linformer"),
    *("focal", "cga", "hiera", "cswin", "hilo", "agent", "diff"),
    *("nat", "dinat", "biformer", "registers", "tome", "ss2d"),
)
"""Built-ins, the usual baseline first; a new one stands at the end, so that the others look as before."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
"""Eleven, prime to the eight colours: 88 mechanisms before a pair comes again."""
DASHES: tuple[tuple[float, ...], ...] = ((), (4, 2), (1.2, 1.4), (6, 2, 1.2, 2), (3, 1.2, 1, 1.2, 1, 1.2))
LEGIBLE = 4.5
"""Contrast of text with its ground that WCAG 2 asks for."""
OWN_DISTRIBUTION = "attnbench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How the points and the line of one label are drawn."""

    color: str
    marker: str
    dash: tuple[float, ...]
    """Lengths of strokes and gaps in line widths, empty for a solid line."""
    filled: bool
    """Whether the markers are filled; those of every other variant of a mechanism are hollow."""

    @property
    def ink(self) -> str:
        """The colour, darkened as far as text on white needs."""
        share = next(
            share / 100 for share in range(100, -1, -1) if contrast(_shaded(self.color, share / 100)) >= LEGIBLE
        )
        return _shaded(self.color, share)


def styles(labels: Iterable[tuple[str, str]], *, first: Sequence[str] = ()) -> dict[str, Style]:
    """Return the style of every label.

    Variants of a mechanism, such as it and its compiled form, share colour and marker and differ in dash and filling.
    A mechanism has its own colour in every plot, unless another one that is drawn has the same: then the later of the
    two takes one that is free, as long as there are any.

    Args:
        labels: Pairs of mechanism and label.
        first: Mechanisms whose styles must not depend on what else is drawn.
    """
    variants: dict[str, set[str]] = {}
    for mechanism, label in labels:
        variants.setdefault(mechanism, set()).add(label)
    order = [*first, *sorted(set(variants) - set(first))]
    places = {mechanism: place for place, mechanism in enumerate(order) if mechanism in variants}
    colors = _colors(places)
    return {
        label: _style(places[mechanism], colors[mechanism], variant)
        for mechanism, names in variants.items()
        for variant, label in enumerate(sorted(names))
    }


def who(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the mechanism and the label of every row, as ``styles`` takes them."""
    names = zip(rows["network"], rows["mechanism"], rows["label"], strict=True)
    return [*dict.fromkeys((str(network or mechanism or label), str(label)) for network, mechanism, label in names)]


def built_in() -> list[str]:
    """Return the names of the mechanisms that come with attnbench, in the order in which they came."""
    own = [name for name, plugin in discover().plugins.items() if plugin.distribution.split()[0] == OWN_DISTRIBUTION]
    return sorted(own, key=lambda name: _AS_THEY_CAME.index(name) if name in _AS_THEY_CAME else len(_AS_THEY_CAME))


def contrast(color: str) -> float:
    """Return the contrast of a colour with white, from 1 to 21, as WCAG 2 defines it."""
    channels = [channel / 255 for channel in _channels(color)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 1.05 / (luminance + 0.05)


def _shaded(color: str, share: float) -> str:
    return "#" + "".join(f"{round(channel * share):02X}" for channel in _channels(color))


def _channels(color: str) -> list[int]:
    return [int(color[place : place + 2], 16) for place in (1, 3, 5)]


def _colors(places: Mapping[str, int]) -> dict[str, int]:
    """Return for every mechanism a colour's place, counted on from the first round where it had to be shared."""
    given: dict[str, int] = {}
    uses: Counter[int] = Counter()
    free = [color for color in range(len(COLORS)) if color not in {place % len(COLORS) for place in places.values()}]
    for mechanism, place in places.items():
        own = place % len(COLORS)
        shared = uses[own]
        given[mechanism] = free.pop(0) if shared and free else own + shared * len(COLORS)
        uses[given[mechanism] % len(COLORS)] += 1
    return given


def _style(place: int, color: int, variant: int) -> Style:
    return Style(
        color=COLORS[color % len(COLORS)],
        marker=MARKERS[place % len(MARKERS)],
        dash=DASHES[(color // len(COLORS) + variant) % len(DASHES)],
        filled=variant % 2 == 0,
    )
