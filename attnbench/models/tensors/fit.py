"""Whether tensors fit a network: names, shapes and kinds of numbers, every misfit said at once."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from attnbench.errors import MisfitError

_MOST_LISTED = 12


def check_fit(
    given: Mapping[str, object], wanted: Mapping[str, Tensor], *, strict: bool = True, whose: str = "the network"
) -> None:
    """Raise unless tensors have the names and shapes that a network wants, and numbers that it can take over.

    Real weights may have any precision. Integers are no weights: they would be quantised ones, without their scale.

    Args:
        given: what is to be loaded.
        wanted: what the network has.
        strict: whether names that only one of the two has are mistakes too.
        whose: what the wanted tensors are of, as messages say it.

    Raises:
        MisfitError: naming what is missing, what is unexpected, and what has another shape or type, with both.
    """
    shared = {name: (given[name], wanted[name]) for name in wanted if name in given}
    tensors = {name: (one, other) for name, (one, other) in shared.items() if isinstance(one, Tensor)}
    misfits = {
        "not a tensor": [f"{name} is {_said(one)}" for name, (one, _) in shared.items() if name not in tensors],
        "of another shape": [
            f"{name} is {shape_text(one)}, {whose}'s {shape_text(other)}"
            for name, (one, other) in tensors.items()
            if one.shape != other.shape
        ],
        "of another type": [
            f"{name} is {_dtype(one)}, {whose}'s {_dtype(other)}"
            for name, (one, other) in tensors.items()
            if not _converts(one, other)
        ],
    }
    if strict:
        misfits["missing"] = [f"{name} {shape_text(wanted[name])}" for name in wanted if name not in shared]
        misfits["unexpected"] = [f"{name} {_said(given[name])}" for name in given if name not in shared]
    found = [_listed(kind, lines) for kind, lines in misfits.items() if lines]
    if found:
        raise MisfitError("\n".join([f"the checkpoint does not fit {whose}", *found]))


def shape_text(tensor: Tensor) -> str:
    """Return a tensor's shape as messages say it."""
    return "x".join(map(str, tensor.shape)) or "a scalar"


def _said(value: object) -> str:
    return shape_text(value) if isinstance(value, Tensor) else f"of type {type(value).__name__}"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _converts(given: Tensor, wanted: Tensor) -> bool:
    if wanted.is_floating_point():
        return given.is_floating_point()
    return wanted.is_complex() or not given.is_complex()


def _listed(kind: str, lines: list[str]) -> str:
    more = len(lines) - _MOST_LISTED
    shown = [*lines[:_MOST_LISTED], *([f"and {more} more"] if more > 0 else [])]
    return "\n".join([f"{kind} ({len(lines)}):", *(f"  {line}" for line in shown)])
