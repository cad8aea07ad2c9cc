"""Hierarchical attention, token by token."""

from __future__ import annotations

from functools import partial
from itertools import product

import torch
from case import Case, Counted, Other
from layer_checks import attention_by_definition, site_of
from places import at
from plain import PlainHMHSA
from torch import Tensor, nn

from attnbench.mechanism import Macs, Site
from attnbench.mechanisms.hmhsa import HMHSA


def normed(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    """One image, (H, W, C), over all its numbers."""
    return (x - x.mean()) / (x.var(correction=0) + 1e-6).sqrt() * norm.weight + norm.bias


def projected(tokens: Tensor, conv: nn.Conv2d) -> Tensor:
    return tokens @ conv.weight[:, :, 0, 0].T + conv.bias


def blocks(height: int, width: int, side: int) -> list[list[tuple[int, int]]]:
    """The tokens that fall into each square of a lattice, empty places left out."""
    squares = product(range(-(-height // side)), range(-(-width // side)))
    tokens = list(product(range(height), range(width)))
    return [[(i, j) for i, j in tokens if (i // side, j // side) == square] for square in squares]


def of_one_image(layer: HMHSA, x: Tensor) -> Tensor:
    """One image, (H, W, C), by the equations of the class's docstring."""
    heads, (height, width, _) = layer.site.heads, x.shape
    q, k, v = projected(normed(x, layer.norm), layer.qkv).chunk(3, -1)
    if layer.grid == 1:
        z = attention_by_definition(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), heads)
        return projected(z.view(x.shape), layer.proj)
    local = torch.zeros_like(x)
    for grid in blocks(height, width, layer.grid):
        rows, columns = zip(*grid, strict=True)
        local[rows, columns] = attention_by_definition(*(t[rows, columns] for t in (q, k, v)), heads)
    local = normed(local + x, layer.grid_norm)
    kept = [pool for pool in blocks(height, width, layer.pool) if layer.partial or len(pool) == layer.pool**2]
    pools = [torch.stack([local[i, j] for i, j in pool]).mean(0) for pool in kept]
    k, v = projected(normed(torch.stack(pools), layer.ds_norm), layer.kv).chunk(2, -1)
    distant = attention_by_definition(projected(local, layer.q).flatten(0, 1), k, v, heads).view(x.shape)
    return projected(local + distant, layer.proj)


def by_definition(layer: HMHSA, x: Tensor, **_: object) -> Tensor:
    """(B, H, W, C), image by image."""
    return torch.stack([of_one_image(layer, image) for image in x])


SITE = partial(site_of, dim=12, heads=3)

DROPPED = at("pools at the end dropped", SITE(9, 7), grid=4, pool=2, partial="dropped")
AVERAGED = tuple(
    at(name, SITE(height, width), grid=grid, pool=pool)
    for name, (height, width, grid, pool) in {
        "divisible": (8, 12, 4, 2),
        "odd": (9, 7, 4, 2),
        "wide": (2, 13, 4, 3),
        "smaller than a grid": (3, 5, 7, 8),
        "one token": (1, 1, 4, 2),
        "pool that the grid does not divide": (10, 10, 5, 3),
        "plain attention": (5, 6, 1, 2),
    }.items()
)
PLACES = (*AVERAGED, DROPPED)

CASE = Case(
    mechanism=HMHSA,
    definition=by_definition,
    defined_at=PLACES,
    within=1e-9,
    gradients_within=1e-7,
    std=0.5,
    usual=PLACES[1:2],
    compiled_at=(),  # its own tests compile more of it
    counted=[Counted(places=PLACES, parts={"addmm": "projections", "mm": "projections", "bmm": "attention"})],
    macs=[(Site(height=2, width=3, dim=4, heads=2), {"grid": 1}, Macs(projections=384, attention=288))],
    refused=[
        (SITE(8, 8), {"grid": 0}, "grid must be at least 1 or 'auto', got 0"),
        (SITE(8, 8), {"pool": -1}, "pool must be at least 1 or 'auto', got -1"),
    ],
    adaptations=[
        (SITE(56, 56, stride=4), {}, None),
        (
            SITE(56, 60, stride=4),
            {},
            "the map ends in grids of 8x4 and pools of 8x4, instead of 8x8 and 8x8",
        ),
        (
            SITE(57, 56, stride=4),
            {},
            "the map ends in grids of 1x8 and pools of 1x8, instead of 8x8 and 8x8",
        ),
        (
            SITE(57, 56, stride=4),
            {"partial": "dropped"},
            "the map ends in grids of 1x8, instead of 8x8; tokens beyond the last whole pool of 8x8 are no keys",
        ),
        (SITE(57, 3, stride=32), {}, None),  # plain attention takes any map as it is
    ],
    others=[
        Other(
            name="padding and masking",
            places=AVERAGED,
            expected=lambda layer, x, **_: PlainHMHSA(layer)(x),
            rtol=1e-9,
            atol=1e-9,
        )
    ],
)
