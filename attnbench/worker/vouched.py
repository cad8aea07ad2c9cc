"""Whether another implementation of a layer vouches for an operator of its own, inside which no counter looks."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

import torch

from attnbench.mechanism import Mechanism, Site, option_defaults
from attnbench.models.subject import MechanismSubject
from attnbench.plugins import options
from attnbench.probes import flops
from attnbench.worker import torch_state

_SIDE = 14
"""Most tokens on a side of the map on which answers are compared."""
_SAME = 1e-4
"""Relative difference that float32 explains."""


def vouched_for(asked: MechanismSubject, closed: int) -> bool:
    """Return whether a backend all of whose products are counted comes to the closed form, and to the same answer.

    Args:
        asked: a mechanism with an operator that no counter knows.
        closed: multiply-adds by its closed form.
    """
    names = options.choices(asked.mechanism, "backend")
    own = (option_defaults(asked.mechanism) | dict(asked.cell.options)).get("backend")
    others = [
        replace(asked, cell=replace(asked.cell, options={**asked.cell.options, "backend": name}))
        for name in names
        if name != own
    ]
    return any(_comes_to(each, closed) and _same_answer(asked, each) for each in others)


def _comes_to(asked: MechanismSubject, closed: int) -> bool:
    counts = flops.count(asked.on_meta)
    known = all(isfinite(each) for each in counts.unseen.values())
    return known and counts.macs_torch is not None and flops.agree(counts.macs_torch, closed)


def _same_answer(one: MechanismSubject, other: MechanismSubject) -> bool:
    site = one.stages[0][0]
    small = replace(site, height=min(site.height, _SIDE), width=min(site.width, _SIDE))
    with torch_state.restored(), torch.no_grad():
        try:
            (first, x), (second, _) = _built(one, small), _built(other, small)
            second.load_state_dict(first.state_dict())
            right, found = second(x), first(x)
        except Exception:  # what cannot be tried vouches for nothing
            return False
    return bool((found - right).abs().max() <= _SAME * right.abs().max())


def _built(asked: MechanismSubject, site: Site) -> tuple[Mechanism, torch.Tensor]:
    torch.manual_seed(0)
    layer = asked.mechanism(site, **asked.cell.options).eval()
    return layer, torch.randn(1, site.height, site.width, site.dim)
