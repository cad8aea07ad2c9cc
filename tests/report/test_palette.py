from __future__ import annotations

import tomllib
from pathlib import Path

import matplotlib.colors
import pytest

from attnbench.report.palette import COLORS, built_in, contrast, styles

NAMES = ["hmhsa", "lavit", "mhsa", "qna", "swin"]


def look(style):
    return style.color, style.marker, style.dash, style.filled


def test_a_mechanism_looks_the_same_whatever_else_is_drawn():
    alone = styles([("swin", "swin")], first=NAMES)["swin"]
    among = styles([(name, name) for name in ["alien", "qna", "swin", "zebra"]], first=NAMES)["swin"]
    assert alone == among


def test_eighty_mechanisms_all_look_different():
    names = [f"m{number:02}" for number in range(80)]
    found = styles([(name, name) for name in names])
    assert len({(style.color, style.marker) for style in found.values()}) == 80


def test_the_first_eight_have_a_colour_each():
    found = styles([(str(number), str(number)) for number in range(8)])
    assert len({style.color for style in found.values()}) == 8


def test_variants_share_colour_and_marker_and_still_differ():
    labels = ["mhsa", "mhsa, compiled", "mhsa, backend=sdpa", "mhsa, backend=sdpa, compiled"]
    found = styles([("mhsa", label) for label in labels], first=NAMES)
    assert len({(style.color, style.marker) for style in found.values()}) == 1
    assert len({look(style) for style in found.values()}) == 4


def test_the_built_in_mechanisms_are_those_of_the_project_file():
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())
    assert sorted(built_in()) == sorted(project["project"]["entry-points"]["attnbench.mechanisms"])


def test_built_ins_look_as_they_always_did():
    """Whatever came later: whoever knows one plot reads all."""
    found = styles([(name, name) for name in built_in()], first=built_in())
    colors = {name: found[name].color for name in NAMES}
    assert colors == {
        "mhsa": "#656565",
        "hmhsa": "#0072B2",
        "qna": "#D55E00",
        "swin": "#009E73",
        "lavit": "#CC79A7",
    }
    later = [*built_in(), "tomorrow"]
    assert styles([(name, name) for name in NAMES], first=later) == styles(
        [(name, name) for name in NAMES], first=built_in()
    )


@pytest.mark.parametrize("color", COLORS)
def test_names_are_dark_enough_to_read_on_white(color):
    (style,) = (style for style in styles([(str(n), str(n)) for n in range(8)]).values() if style.color == color)
    assert contrast(style.ink) >= 4.5


def test_contrast_is_that_of_the_standard():
    assert contrast("#FFFFFF") == pytest.approx(1)
    assert contrast("#000000") == pytest.approx(21)
    # A grey that WebAIM's checker gives 4.54 to 1 for.
    assert contrast("#767676") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize(
    "seen",
    [
        ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
        ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
        ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
    ],
    ids=["protanopia", "deuteranopia", "tritanopia"],
)
def test_colours_are_told_apart_with_a_colour_blindness(seen):
    """With the matrices of Machado et al., 2009, in linear light; 10 is a difference that is seen at a glance."""
    labs = [lab([sum(w * c for w, c in zip(line, linear(color), strict=True)) for line in seen]) for color in COLORS]
    pairs = [(a, b) for number, a in enumerate(labs) for b in labs[:number]]
    assert min(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5 for a, b in pairs) > 15


def linear(color):
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in matplotlib.colors.to_rgb(color)]


def lab(rgb):
    to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    clipped = [min(max(c, 0), 1) for c in rgb]
    xyz = [sum(w * c for w, c in zip(line, clipped, strict=True)) for line in to_xyz]
    x, y, z = (
        t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116
        for t in (c / white for c, white in zip(xyz, (0.9505, 1.0, 1.089), strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_a_mechanism_keeps_its_colour_unless_an_earlier_one_of_the_plot_has_it():
    known = [f"m{place:02}" for place in range(2 * len(COLORS))]
    alone = styles([("m08", "m08")], first=known)["m08"].color
    assert alone == COLORS[0]
    beside = styles([("m00", "m00"), ("m08", "m08")], first=known)
    assert beside["m00"].color == COLORS[0]
    assert beside["m08"].color != COLORS[0]
    assert beside["m08"].marker == styles([("m08", "m08")], first=known)["m08"].marker
    everyone = styles([(name, name) for name in known], first=known)
    assert len({(style.color, style.dash) for style in everyone.values()}) == len(known)
