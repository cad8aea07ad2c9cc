"""Whether a layer takes the rows of a map for blocks of tokens, (B, blocks, tokens, C), that see no others."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from attnbench.mechanism import Site

_SIDE = 4
"""Of the map that is looked at: rows and columns enough to tell one from the other."""


def within_rows(layer: nn.Module, site: Site) -> bool:
    """Return whether a token of a map (B, H, W, C) reaches others of its row, and none of another row.

    A layer that raises, or that draws its numbers, is not told from others. A copy of it is called, so that what it
    keeps of its calls stays as it is.
    """
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1, min(site.height, _SIDE), min(site.width, _SIDE), site.dim, generator=draw)
    try:
        copy = deepcopy(layer).eval()
        x = x.to(next(copy.parameters(), x))
        other = x.clone()
        other[0, 1:2, 1:2] += 1
        with torch.no_grad():
            before, again, after = (_first(copy(each.clone())) for each in (x, x, other))
    except Exception:
        return False
    if before.shape != x.shape or not torch.equal(before, again):
        return False
    reached = (before != after).any(-1)[0]
    return bool(reached[1].sum() > 1) and int(reached.sum()) == int(reached[1].sum())


def _first(y: object) -> torch.Tensor:
    found = y[0] if isinstance(y, tuple | list) and y else y
    assert isinstance(found, torch.Tensor)
    return found
