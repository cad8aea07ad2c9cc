"""Checks of what a mechanism says of itself: its multiply-adds, its reach, that it compiles and exports."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from attnbench.conformance.candidate import Candidate, distance, image, require_trains
from attnbench.conformance.finding import BrokenError, NotClaimedError, in_a_line
from attnbench.mechanism import Macs, Site
from attnbench.models.pyramid import SWIN_T_SIZED
from attnbench.models.subject import MechanismSubject
from attnbench.probes.flops_torch import count_torch
from attnbench.probes.weightless import build_on_meta
from attnbench.record import Cell, Scope
from attnbench.worker.counts import count

_SAME = 1e-9
_DEPTH = 3
_STAGES = 4
_WIDER = 16
"""How many times the channels of the site that layers are checked at a network has in its third stage."""
_FELT = 1e-12
"""Share of the largest gradient that counts as influence: masks of -100, as Swin's, let e^-100 through."""
_LARGE, _FAR = 32, 28
"""Side of the map on which reach is measured, and the row and column from which a token is far from the first."""


def macs(candidate: Candidate) -> str:
    """The closed form of the multiply-adds equals a count by torch."""
    for site in candidate.supported:
        given = [_given(candidate, each) for each in candidate.placed(site, _DEPTH)]
        forms = [each for each in given if each is not None]
        if len(forms) < len(given):
            raise NotClaimedError("it gives no closed form; its multiply-adds are counted")
        closed, counted = sum(forms, Macs(projections=0, attention=0)).total, _counted(candidate, site)
        if closed != counted:
            than = "more" if counted > closed else "fewer"
            raise BrokenError(
                f"torch counts {counted:,}, {abs(counted - closed):,} {than} than that",
                expected=f"{closed:,} MACs in {_DEPTH} layers, by the closed form",
                advice="fix macs, or leave it out: they are counted then",
                site=site,
            )
    return f"equal at {len(candidate.supported)} sites"


def macs_counted(candidate: Candidate) -> str:
    """No counter leaves out work of weight, so that multiply-adds can be ranked."""
    wide = replace(candidate.base, dim=_WIDER * candidate.base.dim)  # what is elementwise weighs less, as it does there
    site = candidate.base if candidate.why_unsupported(wide) else wide
    stages = [index + 1 for index in range(_STAGES) if SWIN_T_SIZED.stride(index) == site.stride]
    if not stages:
        raise NotClaimedError(f"no stage of the pyramid has stride {site.stride}")
    cell = Cell(
        mechanism="", options=candidate.options, scope=Scope.LAYER, height=site.height * site.stride,
        width=site.width * site.stride, stage=stages[0], dim=site.dim, heads=site.heads, depth=_DEPTH,
    )  # fmt: skip
    found = count(MechanismSubject(cell=cell, mechanism=candidate.mechanism))
    if found["macs_doubt"]:
        raise NotClaimedError(f"not ranked by multiply-adds: {found['macs_doubt']}")
    return "by torch, fvcore or the closed form"


def _given(candidate: Candidate, site: Site) -> Macs | None:
    """Return the closed form; Macs itself refuses numbers that count nothing."""
    try:
        return candidate.mechanism.macs(site, **candidate.options)
    except Exception as error:
        raise BrokenError(
            f"macs raises {in_a_line(error)}",
            expected="whole numbers of multiply-adds, none below 0, at every site that is supported",
            advice="fix the formula; divide with // where the quotient is whole",
            site=site,
        ) from error


def _counted(candidate: Candidate, site: Site) -> int:
    """Return the multiply-adds of a stack by torch's counter, products that are written elementwise and summed too."""
    model, (x,) = build_on_meta(
        lambda: (candidate.stack(site, _DEPTH), (torch.empty(1, site.height, site.width, site.dim),))
    )
    try:
        return count_torch(model.eval(), (x,)).macs
    except Exception as error:  # a layer that reads values finds none where it is counted
        said = f"it cannot be counted without data, {in_a_line(error)}: its formula stands alone"
        raise NotClaimedError(said) from error


def reach(candidate: Candidate) -> str:
    """Far tokens of a large map influence each other if the mechanism is global, and do not if it is local."""
    claimed = candidate.mechanism.reach
    if claimed is None:
        raise NotClaimedError("it does not say whether it is local or global")
    require_trains(candidate)  # influence is read off gradients
    site = candidate.near_base(height=_LARGE, width=_LARGE)
    if site is None:
        raise NotClaimedError(f"it does not support maps of {_LARGE}x{_LARGE} tokens")
    for placed in (replace(site, layer=layer, depth=2) for layer in range(2)):
        x = image(placed, batch=1).requires_grad_()
        candidate.layer(placed)(x)[0, 0, 0].sum().backward()
        seen = x.grad is not None and bool(x.grad[0, _FAR:, _FAR:].abs().max() > _FELT * x.grad.abs().max())
        if seen != (claimed == "global"):
            first, far = f"the first token of {_LARGE}x{_LARGE}", f"those from row and column {_FAR} on"
            raise BrokenError(
                f"{first} depends on {far}" if seen else f"no gradient reaches {far} from {first}",
                expected=f"reach is {claimed!r}, in the first layer of a stage as in the second",
                advice='declare reach = "global", or fix the mask'
                if seen
                else 'declare reach = "local", or fix what cuts the gradient off; see gradients-right',
                site=placed,
            )
    return claimed


def compiles(candidate: Candidate) -> str:
    """torch.compile takes the layer as one graph, with the same result."""
    if not candidate.mechanism.compiles:
        raise NotClaimedError("compiles is False")
    site = candidate.base
    layer, x = candidate.layer(site), image(site)
    with _quiet():
        try:
            # Inductor's own code generation is not what is asked; without it the check takes a second.
            compiled = torch.compile(layer, backend="aot_eager", fullgraph=True, dynamic=False)(x)
        finally:
            torch.compiler.reset()
    return _compared(distance(compiled, layer(x)), site)


def exports(candidate: Candidate) -> str:
    """torch.export takes the layer, with the same result."""
    if not candidate.mechanism.exports:
        raise NotClaimedError("exports is False")
    site = candidate.base
    layer, x = candidate.layer(site), image(site)
    with _quiet():
        exported = torch.export.export(layer, (x,)).module()(x)
    return _compared(distance(exported, layer(x)), site)


def _compared(error: float, site: Site) -> str:
    if not error < _SAME:
        raise BrokenError(f"a result off by {error:.1e}", expected=f"no more than {_SAME:.0e}", site=site)
    return f"within {error:.1e}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop the warnings that torch's compiler gives about itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
