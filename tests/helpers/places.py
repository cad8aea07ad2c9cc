"""Where cases of mechanisms ask: sites, with options of a layer there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from layer_checks import site_of

from attnbench.mechanism import Site

BACKENDS = ("sdpa", "unfused")

ONE_CHANNEL_A_HEAD = {"one channel a head": Site(height=2, width=3, dim=3, heads=3)}

SMALL = Site(height=2, width=3, dim=4, heads=2)

MEMORY_SITE = Site(height=16, width=16, dim=16, heads=4)

SRA_MEMORY_SITE = site_of(32, 32, dim=16, heads=4)

SRA_MAP = 1024 * 16

# Narrow heads make the scores (h N P^2) eight times as many as the packed queries, keys and values (3 N C).
WINDOWS_SCORES, WINDOWS_QKV = 4 * 28 * 28 * 49, 3 * 28 * 28 * 8

WINDOWS_MEMORY = {layer: site_of(28, 28, layer, dim=8, heads=4) for layer in (0, 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A site, and options of a layer there."""

    name: str
    site: Site
    options: Mapping[str, Any] = field(default_factory=dict)


def across(sites: Mapping[str, Site], **values: Sequence[Any]) -> tuple[Place, ...]:
    """Return a place for each site and each choice of values of options."""
    chosen = [dict(zip(values, choice, strict=True)) for choice in product(*values.values())]
    return tuple(
        Place(name="-".join([name, *map(str, options.values())]), site=site, options=options)
        for name, site in sites.items()
        for options in chosen
    )


def in_every(place: Place, **values: Sequence[Any]) -> tuple[Place, ...]:
    """Return a place once for each choice of values of further options."""
    return across({place.name: place.site}, **{name: [value] for name, value in place.options.items()}, **values)


def sized(*rows: tuple[int, int], **place: int) -> dict[str, Site]:
    """Return sites of these heights and widths, named by them."""
    return {f"{height}x{width}": site_of(height, width, **place) for height, width in rows}


def named(rows: dict[str, tuple[int, int]], **place: int) -> dict[str, Site]:
    return {name: site_of(*size, **place) for name, size in rows.items()}


def at(name: str, site: Site, **options: object) -> Place:
    return Place(name=name, site=site, options=options)


def kinds(rows: dict[str, tuple[int, int]], **names: int) -> dict[str, Site]:
    """Return each map at the place of each kind of layer, which alternate within a stage."""
    return {f"{kind} {name}": site_of(*size, layer) for name, size in rows.items() for kind, layer in names.items()}
