"""What a call does operator by operator, and how far its result moves where each operator rounds another way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

T = TypeVar("T")
_FLOAT32 = 2.0**-24
_MOVED = frozenset(
    ("_to_copy", "abs", "amax", "amin", "arange", "bernoulli", "cat", "clone", "constant_pad_nd", "copy", "dropout",
     "embedding", "flip", "full_like", "gather", "im2col", "index", "index_put", "index_select", "masked_fill", "max",
     "max_pool2d_with_indices", "maximum", "min", "minimum", "neg", "ones_like", "pixel_shuffle", "relu", "repeat",
     "roll", "scatter", "sort", "stack", "topk", "where", "zeros_like")
)  # fmt: skip
"""Operators that put values elsewhere and compute none, so that there is nothing to round."""


class Steps(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within, every operator is written down, with the sizes of what it is given.

    Example:
        >>> with Steps() as one:
        ...     _ = torch.ones(2, 3) @ torch.ones(3, 4)
        >>> one.taken[-1]
        'aten.mm.default 2x3 3x4'
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.taken: list[str] = []

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        sizes = ["x".join(map(str, each.shape)) for each in tree_leaves(args) if isinstance(each, Tensor)]
        self.taken.append(" ".join((str(func), *sizes)))
        return func(*args, **(kwargs or {}))


class Jitter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within, every result of a type is off by about a rounding of a coarser one: what that one does to a layer.

    Args:
        dtype: the type in which it runs.
        rounding: relative deviation of what each operator returns.
        seed: of the deviations.
    """

    def __init__(self, dtype: torch.dtype, *, rounding: float, seed: int = 0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._dtype = dtype
        self._rounding = rounding
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__.rstrip("_") in _MOVED or not self._any(args):
            return out
        for each, returned in zip(out if isinstance(out, tuple) else (out,), func._schema.returns, strict=False):  # noqa: SLF001
            is_new = returned.alias_info is None or returned.alias_info.is_write  # a view has been rounded before
            if is_new and self._any(each):
                self._move(each)
        return out

    def _any(self, values: Any) -> bool:  # noqa: ANN401
        return any(isinstance(each, Tensor) and each.dtype is self._dtype for each in tree_leaves(values))

    def _move(self, tensor: Tensor) -> None:
        deviation = torch.randn(tensor.shape, generator=self._generator, dtype=torch.float32)
        tensor.mul_(1 + self._rounding * deviation.to(tensor))


def rounded_otherwise(
    model: nn.Module,
    x: Tensor,
    run: Callable[[AbstractContextManager[object]], T],
    *,
    rounding: float = _FLOAT32,
    seed: int = 0,
) -> T:
    """Return what a model gives where weights, input and every operator are rounded another way.

    Args:
        model: exact beside float32; its weights are changed.
        x: its input, which is changed as well.
        run: calls the model within the context that it is given.
        rounding: relative deviation, that of float32 if no other is given.
        seed: of the deviations.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for each in (*model.parameters(), x):
            each.mul_(1 + rounding * torch.randn(each.shape, generator=generator).to(each))
    return run(_all(Jitter(x.dtype, rounding=rounding, seed=seed), sdpa_kernel(SDPBackend.MATH)))


@contextmanager
def _all(*contexts: AbstractContextManager[object]) -> Iterator[None]:
    with ExitStack() as stack:
        for each in contexts:
            stack.enter_context(each)
        yield
