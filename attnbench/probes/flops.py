"""Multiply-adds of a module by independent counters, side by side. A disagreement is shown, never averaged.

Figures are multiply-adds (MACs) in matrix products, convolutions and elementwise products that are then summed, for
one image, in a forward pass in evaluation mode; a training step is counted as its forward pass. One MAC is two FLOPs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from torch import nn

from attnbench import raised
from attnbench.probes.flops_fvcore import FvcoreCount, count_fvcore
from attnbench.probes.flops_torch import TorchCount, count_torch
from attnbench.probes.weightless import Build, Inputs, build_on_meta

TOLERANCE = 0.01
"""Share of the larger count by which two counters may differ before it needs a reason."""

Count = TypeVar("Count", TorchCount, FvcoreCount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Multiply-adds of one image, by each counter; None where a counter cannot run the module."""

    macs_torch: int | None
    macs_fvcore: int | None
    macs_attention: int | None
    """Those of products of two tensors that both depend on the input, by torch's counter."""
    uncounted: tuple[str, ...] = ()
    """Operators that did work which torch's counter has no formula for, and fvcore none either. Sorted."""
    elementwise: int | None = field(default=None, compare=False)
    """What fvcore counts besides multiply-adds: norms, pooling, interpolation; None where it cannot run the module."""
    activations: int | None = field(default=None, compare=False)
    """Elements that products and convolutions return, as fvcore counts them."""
    remark: str = ""
    """Why the two differ by over 1 %, or why a counter has no figure; empty if there is nothing to say."""
    unseen: Mapping[str, float] = field(default_factory=dict, compare=False)
    """What those, and elementwise products that nothing sums, may be worth in multiply-adds, by name; infinity where
    nobody can tell."""
    macs_least: int = field(default=0, compare=False)
    """Those that no way of computing them saves, by torch's counter."""
    output_bytes: int = field(default=0, compare=False)
    """Of what the module returns; 0 where torch's counter cannot run it."""


def count(build: Build) -> Counts:
    """Count a module's multiply-adds for one image, on the meta device: neither memory nor arithmetic is spent.

    The first dimension of every input is the batch. It is cut to 1, so that work which does not grow with the
    batch, such as a table of position biases, is counted in full whatever the batch.

    Args:
        build: returns the module and the inputs of one call; see ``weightless.Build``.
    """
    model, inputs = build_on_meta(build)
    single = tuple(each.detach()[:1] for each in inputs)
    with _still(model.eval()):
        by_torch, torch_fault = _attempt(count_torch, model, single)
        by_fvcore, fvcore_fault = _attempt(count_fvcore, model, single)
    difference = explain_difference(by_torch, by_fvcore) if by_torch and by_fvcore else ""
    return Counts(
        macs_torch=by_torch.macs if by_torch else None,
        macs_fvcore=by_fvcore.macs if by_fvcore else None,
        macs_attention=by_torch.macs_attention if by_torch else None,
        elementwise=by_fvcore.elementwise if by_fvcore else None,
        activations=by_fvcore.activations if by_fvcore else None,
        uncounted=by_torch.uncounted if by_torch else (),
        unseen=by_torch.unseen if by_torch else {},
        macs_least=by_torch.macs_least if by_torch else 0,
        remark="; ".join(filter(None, [torch_fault, fvcore_fault, difference])),
        output_bytes=by_torch.output_bytes if by_torch else 0,
    )


def agree(one: int, other: int) -> bool:
    """Say whether two counts differ by at most 1 %."""
    return abs(one - other) <= TOLERANCE * max(one, other)


def explain_difference(by_torch: TorchCount, by_fvcore: FvcoreCount) -> str:
    """Name what makes two counts differ by over 1 %; empty if they agree."""
    if agree(by_torch.macs, by_fvcore.macs):
        return ""
    pairs = {
        "matrix products": (by_torch.products, by_fvcore.products),
        "convolutions": (by_torch.macs - by_torch.products, by_fvcore.macs - by_fvcore.products),
    }
    parts = [
        f"{kind} {ours:,} by torch, {theirs:,} by fvcore" for kind, (ours, theirs) in pairs.items() if ours != theirs
    ]
    if by_fvcore.missed:
        parts.append(f"fvcore does not count {', '.join(by_fvcore.missed)}")
    if by_torch.uncounted:
        parts.append(f"torch does not count {', '.join(by_torch.uncounted)}")
    return "; ".join(parts)


@contextmanager
def _still(model: nn.Module) -> Iterator[None]:
    """Within, no parameter of the module asks for a gradient: a trace can hold none that does."""
    asking = [each for each in model.parameters() if each.requires_grad]
    model.requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        for each in asking:
            each.requires_grad_()


def _attempt(
    counter: Callable[[nn.Module, Inputs], Count], model: nn.Module, inputs: Inputs
) -> tuple[Count | None, str]:
    """Return what a counter finds, or why it finds nothing: a foreign module can fail without data in any way."""
    try:
        return counter(model, inputs), ""
    except Exception as error:
        said = f"{type(error).__name__}: {str(error).splitlines()[0]}" if str(error).strip() else raised.in_words(error)
        return None, f"{counter.__name__} fails: {said}"
