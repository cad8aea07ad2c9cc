"""Checks of gradients and precision."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.func import functional_call

from attnbench.conformance.candidate import Candidate, distance, image, stir
from attnbench.conformance.finding import BrokenError, NotClaimedError
from attnbench.mechanism import Mechanism
from attnbench.options import choices

HALF_PRECISION_BOUND = 8
"""Largest error in half precision, in units of the type's epsilon, relative to the largest value in float64."""
_HALVES = (torch.bfloat16, torch.float16)
_SAME = 1e-9
_DEPTH = 3


def gradients_reach(candidate: Candidate) -> str:
    """Gradients reach the input and every parameter that is learned."""
    site = candidate.base
    stack = candidate.stack(site, _DEPTH).double()
    x = image(site).requires_grad_()
    y, carry, total = x, None, x.new_zeros(())
    for layer in stack.layers:
        assert isinstance(layer, Mechanism)
        attended, carry = stir(layer).step(y, carry)
        total = total + attended.square().sum()
        y = y + attended
    total.backward()  # type: ignore[no-untyped-call]
    if x.grad is None or not x.grad.any():
        raise BrokenError("none reaches the input", site=site)
    learned = {name: p for name, p in stack.named_parameters() if p.requires_grad}
    missed = [name.removeprefix("layers.") for name, p in learned.items() if p.grad is None]
    if missed:
        raise BrokenError(
            f"in a stack of {_DEPTH}, none reaches {', '.join(missed)} (the number is the layer)", site=site
        )
    return f"the input and {len(learned)} parameters of {_DEPTH} layers"


def gradients_right(candidate: Candidate) -> str:
    """Gradients in float64 are those that finite differences give."""
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
        said = " ".join(str(error).split())
        raise BrokenError(f"at {site.height}x{site.width} tokens: {said[:300]}", site=candidate.base) from error
    return f"at {site.height}x{site.width} tokens, for the input and {len(learned)} parameters"


def half_precision(candidate: Candidate) -> str:
    """In bfloat16 and float16, the result stays near that in float64."""
    site = candidate.base
    x = image(site)
    expected = candidate.layer(site)(x)
    said = []
    for dtype in _HALVES:
        error = distance(candidate.layer(site).to(dtype)(x.to(dtype)), expected)
        bound = HALF_PRECISION_BOUND * torch.finfo(dtype).eps
        if not error < bound:
            raise BrokenError(
                f"{dtype} is off by {error:.1e} of the largest value",
                expected=f"no more than {bound:.1e}, {HALF_PRECISION_BOUND} times the type's epsilon",
                site=site,
            )
        said.append(f"{str(dtype).removeprefix('torch.')} {error / torch.finfo(dtype).eps:.1f} eps")
    return ", ".join(said)


def backends(candidate: Candidate) -> str:
    """All backends give the same result."""
    names = choices(candidate.mechanism, "backend")
    if len(names) < 2:
        raise NotClaimedError("it has one implementation")
    for site in candidate.supported:
        x = image(site)
        expected = candidate.layer(site, backend=names[0])(x)
        for name in names[1:]:
            error = distance(candidate.layer(site, backend=name)(x), expected)
            if not error < _SAME:
                raise BrokenError(
                    f"{name} differs from {names[0]} by {error:.1e} of the largest value",
                    expected=f"no more than {_SAME:.0e}",
                    site=site,
                )
    return f"{', '.join(names)} agree"
