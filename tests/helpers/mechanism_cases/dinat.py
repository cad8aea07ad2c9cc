"""Attention to dilated neighbours."""

from __future__ import annotations

from case import Case
from layer_checks import site_of
from places import SMALL, at

from attnbench.mechanism import Macs
from attnbench.mechanisms.dinat import DilatedNeighborhoodAttention
from mechanism_cases.nat import neighbourhood


def by_definition(layer, x, *, window=7, dilation="auto", **_):
    largest = min(x.shape[1:3]) // window if layer.site.layer % 2 else 1
    return neighbourhood(layer, x, window=window, dilation=largest if dilation == "auto" else dilation)


PLACES = (
    at("plain", site_of(7, 6), window=3),
    at("dilated", site_of(7, 9, 1), window=3),
    at("given", site_of(6, 7), window=3, dilation=2),
)

CASE = Case(
    mechanism=DilatedNeighborhoodAttention,
    definition=by_definition,
    defined_at=PLACES,
    usual=[at("7x9", site_of(7, 9, 1), window=3)],
    compiled_at=(),  # the layer is nat's
    counted=[],
    macs=[
        (SMALL, {"window": 3}, Macs(projections=384, attention=2 * 6 * 2 * 3 * 4)),
        (site_of(9, 9, 1), {"window": 3}, Macs(projections=4 * 81 * 64, attention=2 * 81 * 9 * 8)),
    ],
    refused=[
        (SMALL, {"window": 0}, "window must be odd and at least 1, got 0"),
        (SMALL, {"dilation": 0}, "dilation must be at least 1, got 0"),
    ],
    refused_by=["macs", "adaptation"],
    adaptations=[
        (site_of(56, 56, 1), {}, None),
        (site_of(12, 20, 1), {}, None),
        (site_of(12, 20, 1), {"dilation": 2}, "dilated by 1x2, not 2"),
    ],
)
