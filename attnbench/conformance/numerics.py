"""Checks of gradients and precision."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.func import functional_call

from attnbench.conformance.candidate import Candidate, distance, image, require_trains, stir
from attnbench.conformance.conduct import require_dtype
from attnbench.conformance.finding import BrokenError, NotClaimedError, in_a_line
from attnbench.mechanism import Mechanism, Site
from attnbench.models.subject import cast
from attnbench.plugins.options import choices
from attnbench.probes import agreement, steps

HALF_PRECISION_BOUND = 8
"""Largest error in half precision, in units of the type's epsilon, relative to the largest value in float64."""
_HALVES = (torch.bfloat16, torch.float16)
_SAME = 1e-9
_SAME_IN_FLOAT32 = 1e-4
_DEPTH = 3
_SEEDS = 4
"""Ways of rounding that are tried where half precision is far from float64."""
_CUT_OFF = (
    "look for detach(), .data, no_grad(), a rounding or an index that a gradient does not pass; "
    "of a layer that only infers, say trains = False"
)


def gradients_reach(candidate: Candidate) -> str:
    """Gradients reach the input and every parameter that is learned."""
    require_trains(candidate)
    site = candidate.base
    stack = candidate.stack(site, _DEPTH).double()
    x = image(site).requires_grad_()
    y, carry, total = x, None, x.new_zeros(())
    for layer in stack.layers:
        assert isinstance(layer, Mechanism)
        attended, carry = stir(layer).step(y, carry)
        total = total + attended.square().sum()
        y = layer.shortcut(y) + attended
    if total.requires_grad:
        total.backward()  # type: ignore[no-untyped-call]
    if x.grad is None or not x.grad.any():
        raise BrokenError("none reaches the input", advice=_CUT_OFF, site=site)
    learned = {name: p for name, p in stack.named_parameters() if p.requires_grad}
    missed = [name.removeprefix("layers.") for name, p in learned.items() if p.grad is None]
    if missed:
        raise BrokenError(
            f"in a stack of {_DEPTH}, none reaches {', '.join(missed)} (the number is the layer)",
            advice=f"remove what is not used; {_CUT_OFF}",
            site=site,
        )
    return f"the input and {len(learned)} parameters of {_DEPTH} layers"


def gradients_right(candidate: Candidate) -> str:
    """Gradients in float64 are those that finite differences give."""
    require_trains(candidate)
    site = candidate.near_base(height=3, width=3) or min(candidate.supported, key=lambda each: each.tokens)
    layer = candidate.layer(site)
    learned = {name: p for name, p in layer.named_parameters() if p.requires_grad}

    def run(x: Tensor, *values: Tensor) -> Tensor:
        y: Tensor = functional_call(layer, dict(zip(learned, values, strict=True)), (x,))
        return y

    inputs = (image(site, batch=1).requires_grad_(), *learned.values())
    try:
        gradcheck(run, inputs, fast_mode=True, nondet_tol=_SAME)
    except RuntimeError as error:
        raise BrokenError(
            f"at {site.height}x{site.width} tokens, {_whose(error, list(learned))}",
            advice=_CUT_OFF,
            site=candidate.base,
        ) from error
    return f"at {site.height}x{site.width} tokens, for the input and {len(learned)} parameters"


def _whose(error: RuntimeError, learned: Sequence[str]) -> str:
    """Return in words what gradcheck raised; what it writes of a mismatch has many lines, with its own advice."""
    if "mismatch" not in str(error):
        return in_a_line(error)
    found = re.search(r"with respect to input (\d+)", str(error))
    whose = f"the gradient of {('the input', *learned)[int(found[1])]}" if found else "a gradient"
    return f"{whose} is not that of finite differences"


def precision(candidate: Candidate) -> str:
    """In float32, the result agrees with float64 as well as rounding lets it."""
    site = candidate.base
    x = image(site).float()
    layer, exact = candidate.single(), candidate.single().double()
    right = exact(x.double()).detach()
    error = distance(layer(x), right)

    def run(within: AbstractContextManager[object]) -> Tensor:
        with within:
            y: Tensor = exact(given)
        return y.detach()

    said = f"to {agreement.digits(error)} digits"
    if error >= agreement.HALF:
        given = x.double()
        swing = distance(steps.rounded_otherwise(exact, given, run), right)
        if agreement.NOISE * swing < min(error, 1):
            raise BrokenError(
                f"it agrees {said} only: it is off by {error:.1e} of the largest value, where rounding every step "
                f"changes {swing:.0e}",
                advice="look for autocast, half types and TF32 inside",
                site=site,
            )
    return said


def half_precision(candidate: Candidate) -> str:
    """In bfloat16 and float16, the result stays near that in float64."""
    site = candidate.base
    x = image(site)
    expected = candidate.layer(site)(x)
    said = []
    for dtype in _HALVES:
        y = cast(candidate.layer(site), str(dtype).removeprefix("torch."))(x.to(dtype))
        require_dtype(y, x.to(dtype), site)
        error = distance(y, expected)
        bound = HALF_PRECISION_BOUND * torch.finfo(dtype).eps
        turned = 0.0 if error < bound else _turned(candidate, dtype, expected)
        if not error < bound and not (bound < turned and error < agreement.FACTOR * turned):
            raise BrokenError(
                f"{dtype} is off by {error:.1e} of the largest value",
                expected=f"no more than {bound:.1e}, {HALF_PRECISION_BOUND} times the type's epsilon",
                advice="scale before the product that grows, or compute that part in x.float() and cast back",
                site=site,
            )
        why = "" if error < bound else f", as rounding every step moves float64 by {turned:.1e}"
        said.append(f"{str(dtype).removeprefix('torch.')} {error / torch.finfo(dtype).eps:.1f} eps{why}")
    return ", ".join(said)


def _turned(candidate: Candidate, dtype: torch.dtype, expected: Tensor) -> float:
    """Return how far rounding every step to a half type moves float64: far, where a layer chooses by values."""
    moved = []
    for seed in range(_SEEDS):
        layer, x = candidate.layer(candidate.base), image(candidate.base)

        def run(within: AbstractContextManager[object], layer: Mechanism = layer, x: Tensor = x) -> Tensor:
            with within, torch.no_grad():
                y: Tensor = layer(x)
            return y

        rounding = torch.finfo(dtype).eps / 2
        moved.append(distance(steps.rounded_otherwise(layer, x, run, rounding=rounding, seed=seed), expected))
    return max(moved)


def backends(candidate: Candidate) -> str:
    """All backends give the same result."""
    names = choices(candidate.mechanism, "backend")
    if len(names) < 2:
        raise NotClaimedError("it has one implementation")
    for site in candidate.supported:
        x = image(site)
        expected = candidate.layer(site, backend=names[0])(x)
        for name in names[1:]:
            found = candidate.layer(site, backend=name)(x)
            _require_near(found, expected, _SAME, site=site, name=name, first=names[0])
    # One that only infers may know no float64, and be something else there.
    site = min(candidate.supported, key=lambda one: one.tokens)
    for name in candidate.mechanism.infers_only:
        found, expected = _inferred(candidate, site, name), _inferred(candidate, site, names[0])
        _require_near(found, expected, _SAME_IN_FLOAT32, site=site, name=name, first=names[0])
    return f"{', '.join(names)} agree"


@torch.no_grad()
def _inferred(candidate: Candidate, site: Site, backend: str) -> Tensor:
    found: Tensor = candidate.layer(site, backend=backend).float()(image(site).float())
    return found


def _require_near(found: Tensor, expected: Tensor, within: float, *, site: Site, name: str, first: str) -> None:
    error = distance(found, expected)
    if not error < within:
        raise BrokenError(
            f"{name} differs from {first} by {error:.1e} of the largest value",
            expected=f"no more than {within:.0e}",
            site=site,
        )
