"""Elementwise products that are then summed, in a trace of torch.jit: for fvcore, whose handlers see a node at a time.

What ``attnbench.probes.summed`` follows from the products on is followed here from the sum back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attnbench.probes.summed import (
    ADDS,
    ALONG,
    BY_INDEX,
    CARRIES,
    EMPTY,
    FACTORS,
    FEWEST_ADDED,
    OF_ALL,
    plain,
    reduces,
    summand,
)

_NAMES_OF_VIEWS = """
    alias chunk contiguous detach diagonal dropout expand flatten moveaxis movedim narrow permute reshape select slice
    split squeeze swapaxes t to transpose type_as unbind unflatten unfold unsqueeze view view_as
"""
_VIEWS = frozenset(_NAMES_OF_VIEWS.split())
_LISTS = frozenset({"prim::ListConstruct", "prim::ListUnpack"})
_DEEPEST = 200
"""Nodes that are followed back at most."""
_MOST_STEPS = 50
"""Nodes that are looked at to tell whether a product is one of weights."""


def _of_sum(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Return the products that a node sums; those of a chain of additions were counted there."""
    name = plain(outputs[0].node().kind())
    place = summand(name, [each.toIValue() if each.node().kind() == "prim::Constant" else each for each in inputs])
    terms = None if place is None else _terms(inputs[place])
    if place is None or not terms or terms >= FEWEST_ADDED:
        return 0
    before = _elements(inputs[place])
    return terms * before if reduces(name, before, _elements(outputs[0])) else 0


def _of_addition(_: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Return the products of a chain that is long enough with this addition, those left out that were counted in it."""
    parts = _added(outputs[0].node(), 0)
    known = [each for each in parts if each is not None]
    if len(known) < len(parts) or sum(known) < FEWEST_ADDED:
        return 0
    return sum(each for each in known if each < FEWEST_ADDED) * _elements(outputs[0])


def _added(node: Any, depth: int) -> list[int | None]:  # noqa: ANN401 - torch's nodes and values have no types
    """Return of how many products each operand of an addition is the sum, None for one that is something else."""
    name, inputs = plain(node.kind()), list(node.inputs())
    if name in FACTORS:
        return [1, _terms(inputs[0], depth + 1)]
    operands = [each for each in inputs[:2] if _elements(each) > 1]
    found: list[int | None] = []
    for each in reversed(operands):  # what a residual stream adds comes second, and is soon known to be no product
        found.append(_terms(each, depth + 1))
        if found[-1] is None:
            break
    return found


def _terms(value: Any, depth: int = 0) -> int | None:  # noqa: ANN401
    """Return of how many products a value is the sum, 0 for zeros, None if it is something else."""
    node = value.node()
    name, inputs = plain(node.kind()), list(node.inputs())
    factors = [inputs[place] for place in FACTORS.get(name, ())]
    multiplies = len({each.debugName() for each in factors if _elements(each) > 1}) > 1
    unknown = not (node.kind().startswith("aten::") or node.kind() in _LISTS)
    if depth > _DEEPEST or unknown or (multiplies and all(map(of_weights, factors))):
        return None
    if name in EMPTY:
        return 0
    if multiplies and name != "addcmul":
        return 1
    if name in ADDS or multiplies:
        parts = _added(node, depth)
        return None if None in parts else sum(each or 0 for each in parts)
    if name in CARRIES or name in _VIEWS or node.kind() in _LISTS:
        known = [found for each in inputs if (found := _terms(each, depth + 1)) is not None]
        return max(known, default=None)
    return None


def of_weights(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value is made of parameters and numbers alone, within a few steps."""
    front = [value]
    for _ in range(_MOST_STEPS):
        if not front:
            return True
        last = front.pop()
        node = last.node()
        if node.kind() != "prim::Param":
            front += [each for each in node.inputs() if _elements(each) > 1 or each.type().kind() == "ListType"]
        elif last.offset() == 0:  # the input; parameters are lifted to be inputs after it
            return False
    return False


def _elements(value: Any) -> int:  # noqa: ANN401
    """Return the elements of a tensor, 0 for anything else."""
    sizes = value.type().sizes() if value.isCompleteTensor() else None
    total = 1 if sizes is not None else 0
    for each in sizes or ():
        total *= each
    return total


Handle = Callable[[Sequence[Any], Sequence[Any]], int]
_SUMMING = (*OF_ALL, *ALONG, *BY_INDEX, "index_put")
_ADDING = (*ADDS, "addcmul")
HANDLES: Mapping[str, Handle] = {
    f"aten::{name}{variant}": handle
    for names, handle in ((_SUMMING, _of_sum), (_ADDING, _of_addition))
    for name in names
    for variant in ("", "_")
}
"""Handlers for fvcore, by what a trace calls an operator."""
