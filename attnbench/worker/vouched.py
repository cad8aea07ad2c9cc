"""Whether another implementation of a layer vouches for an operator of its own, inside which no counter looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import isfinite

import torch
from torch import nn

from attnbench.mechanism import Mechanism, Site, option_defaults
from attnbench.models.subject import MechanismSubject
from attnbench.plugins import options
from attnbench.probes import flops
from attnbench.probes.weightless import Inputs
from attnbench.runs.job import foreign
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
    """Return whether a backend's products come to the closed form.

    A stranger's are counted where the cell has them. Of a built-in, of which tests show that it grows as its closed
    form, a small map is enough: a recurrence is thousands of operators on a large one.
    """
    if foreign(asked.cell.distribution):
        return _is_counted(asked.on_meta, closed)
    site = _small(asked)
    form = asked.mechanism.macs(site, **asked.cell.options)
    return form is not None and _is_counted(lambda: _given(*_built(asked, site)), form.total)


def _is_counted(build: Callable[[], tuple[nn.Module, Inputs]], closed: int) -> bool:
    """Return whether all work is known, and what of it the counters leave out makes up what they lack."""
    counts = flops.count(build)
    unseen, counted = sum(counts.unseen.values()), counts.macs_torch
    if counted is None or not isfinite(unseen):
        return False
    return flops.agree(counted, closed) or counted <= closed <= counted + unseen


def _small(asked: MechanismSubject) -> Site:
    site = asked.stages[0][0]
    return replace(site, height=min(site.height, _SIDE), width=min(site.width, _SIDE))


def _same_answer(one: MechanismSubject, other: MechanismSubject) -> bool:
    small = _small(one)
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


def _given(layer: nn.Module, x: torch.Tensor) -> tuple[nn.Module, Inputs]:
    return layer, (x,)
