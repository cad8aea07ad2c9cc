"""Products that are written elementwise and then summed: multiply-adds that no formula of a single operator has.

Attention over neighbourhoods is often written so, ``(q * k).sum(-1)``, as are ``torch.linalg.vecdot``, linear attention
by cumulative sums, and weighted means. A product alone is no multiply-add: gates, scales of layers and norms stay what
they are, elementwise work. Nor is one of weights alone, which can be worked out once.

A product is followed through what moves or scales it to what sums it: a reduction, a mean, a cumulative sum, a pool,
an addition by index, or a chain of additions. Such a chain counts from three products on: two are a gate, a step of an
LSTM or the rotation of a position embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnbench.probes.shapes import leaves
from attnbench.probes.workless import MOVES

FEWEST_ADDED = 3
"""Products in a chain of additions from which on they are counted."""
FACTORS: Mapping[str, tuple[int, int]] = {"mul": (0, 1), "multiply": (0, 1), "addcmul": (1, 2)}
"""Elementwise products, and which of their arguments are multiplied."""
ADDS = frozenset({"add", "sub", "rsub"})
EMPTY = frozenset({"zeros", "zeros_like", "new_zeros", "zero"})
"""What a sum may start from."""
CARRIES = MOVES | FACTORS.keys() | {"div", "neg", "where"}
"""What leaves products what they are, where all else that it takes are single numbers, masks and indices."""
OF_ALL = frozenset({"sum", "mean", "nansum", "nanmean", "col2im"}) | {
    f"{kind}avg_pool{sides}d" for kind in ("", "adaptive_") for sides in (1, 2, 3)
}
ALONG = frozenset({"cumsum"})
BY_INDEX = frozenset({"index_add", "scatter_add", "scatter_reduce"})


def plain(name: str) -> str:
    """Return what an operator is called beside its variants, such as ``add`` for ``aten::add_``."""
    return name.rpartition("::")[2].partition(".")[0].strip("_")


def summand(name: str, args: Sequence[Any]) -> int | None:
    """Return which argument an operator sums, None if it sums none.

    Args:
        name: the operator's, plain.
        args: all that it takes, in the order of its schema.
    """
    if name in OF_ALL | ALONG:
        return 0
    if name in BY_INDEX:
        return 3
    return 2 if name == "index_put" and len(args) > 3 and args[3] is True else None


def reduces(name: str, before: int, after: int) -> bool:
    """Return whether an operator that sums has anything to add up.

    Args:
        name: the operator's, plain.
        before: elements of what it sums.
        after: elements of what it returns.
    """
    return before > after if name in OF_ALL else True


@dataclass(slots=True)
class _Products:
    """The products that a storage holds."""

    left: int
    """Those that nothing has summed yet."""
    terms: int
    """Of how many products each element is the sum; 0 for zeros."""
    of_inputs: bool
    """Whether all their factors depend on the input."""

    def take(self, most: int) -> int:
        taken = min(self.left, most)
        self.left -= taken
        return taken


class SummedProducts:
    """Follows elementwise products through the operators of a forward pass.

    Example:
        >>> q, k = torch.empty(5, 8, device="meta"), torch.empty(5, 8, device="meta")
        >>> found, product = SummedProducts(depends=lambda tensor: True), q * k
        >>> found.see(torch.ops.aten.mul.Tensor, (q, k), product)
        False
        >>> found.see(torch.ops.aten.sum.dim_IntList, (product, [-1]), product.sum(-1))
        True
        >>> found.macs, found.macs_attention, found.unsummed
        (40, 40, 0)
    """

    def __init__(self, depends: Callable[[Tensor], bool]) -> None:
        """Start with nothing seen.

        Args:
            depends: says whether a tensor depends on the input.
        """
        self.macs = 0
        self.macs_attention = 0
        """Those of products whose factors both depend on the input."""
        self._products = self._taken = 0
        self._depends = depends
        self._held: dict[int, tuple[torch.UntypedStorage, _Products]] = {}  # storages, so that an id stays its own

    @property
    def unsummed(self) -> int:
        """Elementwise products of two tensors that nothing has summed and no counted operator has taken."""
        return self._products - self.macs - self._taken

    def hand_on(self, args: tuple[Any, ...]) -> None:
        """Take note that an operator which has a formula of its own sums what it is given."""
        for each in leaves(args):
            held = self._of(each) if _is_map(each) else None
            self._taken += held.take(held.left) if held else 0

    def see(self, func: Any, args: tuple[Any, ...], out: Any) -> bool:  # noqa: ANN401
        """Take note of an operator, and return whether it summed products.

        Args:
            func: an overload of an operator.
            args: its positional arguments.
            out: what it returned.
        """
        name = plain(func.overloadpacket.__name__)
        if not isinstance(out, Tensor) or func.is_view:
            return False
        if name in FACTORS and multiplies(*(args[place] for place in FACTORS[name])):
            return self._multiplied(name, args, out)
        place = summand(name, args)
        if place is not None:
            return self._summed(name, args[place], out)
        if name in ADDS:
            return self._added([self._of(each) for each in args[:2] if _is_map(each)], out)
        if name in EMPTY:
            self._hold(out, _Products(left=0, terms=0, of_inputs=True))
        elif name in CARRIES:
            self._joined([self._of(each) for each in leaves(args) if _is_map(each)], out)
        else:
            self._held.pop(id(out.untyped_storage()), None)  # it was written over
        return False

    def _multiplied(self, name: str, args: tuple[Any, ...], out: Tensor) -> bool:
        dependent = [self._depends(args[place]) for place in FACTORS[name]]
        made = _Products(left=out.numel() if any(dependent) else 0, terms=1, of_inputs=all(dependent))
        self._products += made.left
        if name == "addcmul":
            return self._added([self._of(args[0]), made], out)
        self._hold(out, made)
        return False

    def _summed(self, name: str, given: Tensor, out: Tensor) -> bool:
        held = self._of(given)
        if held is None or not reduces(name, given.numel(), out.numel()):
            return False
        return self._count(held, given.numel() * held.terms) > 0

    def _added(self, parts: Sequence[_Products | None], out: Tensor) -> bool:
        known = [each for each in parts if each is not None]
        if len(known) < len(parts):  # something else was added, such as a residual
            self._held.pop(id(out.untyped_storage()), None)
            return False
        enough = sum(each.terms for each in known) >= FEWEST_ADDED
        counted = sum(self._count(each, out.numel() * each.terms) for each in known) if enough else 0
        self._hold(out, _together(known, terms=sum(each.terms for each in known)))
        return counted > 0

    def _joined(self, parts: Sequence[_Products | None], out: Tensor) -> None:
        """Let what an operator returns hold the products that it was given."""
        known = list({id(each): each for each in parts if each is not None}.values())
        if known:
            alone = len(known) == 1
            self._hold(out, known[0] if alone else _together(known, terms=max(each.terms for each in known)))

    def _count(self, products: _Products, most: int) -> int:
        taken = products.take(most)
        self.macs += taken
        self.macs_attention += taken if products.of_inputs else 0
        return taken

    def _of(self, tensor: Tensor) -> _Products | None:
        _, products = self._held.get(id(tensor.untyped_storage()), (None, None))
        return products

    def _hold(self, tensor: Tensor, products: _Products) -> None:
        storage = tensor.untyped_storage()
        self._held[id(storage)] = (storage, products)


def multiplies(first: Any, second: Any) -> bool:  # noqa: ANN401
    """Return whether both factors are maps, and not a map and a number, nor a map squared as in a norm."""
    return _is_map(first) and _is_map(second) and first is not second


def _is_map(value: object) -> bool:
    return isinstance(value, Tensor) and value.numel() > 1


def _together(parts: Sequence[_Products], *, terms: int) -> _Products:
    """Return the products of several storages as those of one."""
    of_inputs = all(each.of_inputs for each in parts if each.terms)
    return _Products(left=sum(each.take(each.left) for each in parts), terms=terms, of_inputs=of_inputs)
