"""What is remembered of operators on the meta device is what they return, and is no tensor of an earlier call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from attnbench.probes import shapes
from attnbench.probes.shapes import result_of

aten = torch.ops.aten


@pytest.fixture(autouse=True)
def _forgotten() -> None:
    shapes._KNOWN.clear()


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def form(out: Tensor | tuple[Tensor, ...]) -> list[tuple[Any, ...]]:
    return [
        (each.shape, each.stride(), each.dtype, each.device) for each in (out if isinstance(out, tuple) else (out,))
    ]


CALLS: dict[str, Callable[[], tuple[Any, tuple[Any, ...], dict[str, Any]]]] = {
    "product": lambda: (aten.mm.default, (meta(3, 4), meta(4, 5)), {}),
    "product of a view": lambda: (aten.mm.default, (meta(4, 3).t(), meta(4, 5)), {}),
    "sum of half precision": lambda: (aten.add.Tensor, (meta(3, 1), meta(1, 4, dtype=torch.bfloat16)), {"alpha": 2}),
    "norm": lambda: (aten.native_layer_norm.default, (meta(2, 7, 8), [8], meta(8), meta(8), 1e-5), {}),
    "list": lambda: (aten.cat.default, ([meta(2, 3), meta(2, 5)], 1), {}),
    "convolution": lambda: (
        aten.convolution.default,
        (meta(1, 4, 8, 8), meta(6, 4, 3, 3), None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1),
        {},
    ),
    "cast": lambda: (aten._to_copy.default, (meta(3, 4),), {"dtype": torch.float16}),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_remembered_is_what_is_returned(name: str) -> None:
    func, args, kwargs = CALLS[name]()
    first = result_of(func, args, kwargs)
    assert len(shapes._KNOWN) == 1
    func, args, kwargs = CALLS[name]()
    again = result_of(func, args, kwargs)
    assert len(shapes._KNOWN) == 1
    assert form(again) == form(first) == form(func(*args, **kwargs))
    assert again is not first


def test_arguments_that_differ_have_results_of_their_own() -> None:
    for dim in (0, 1):
        assert result_of(aten.cat.default, ([meta(2, 2), meta(2, 2)], dim), {}).shape[dim] == 4
    assert result_of(aten.mul.Scalar, (meta(2, dtype=torch.int64), 1), {}).dtype is torch.int64
    assert result_of(aten.mul.Scalar, (meta(2, dtype=torch.int64), 1.0), {}).dtype is torch.float32  # 1 == 1.0


def test_views_and_writes_are_of_their_own_tensors() -> None:
    for _ in range(2):
        x = meta(2, 6)
        assert result_of(aten.view.default, (x, [3, 4]), {}).untyped_storage()._cdata == x.untyped_storage()._cdata
        assert result_of(aten.add_.Tensor, (x, 1), {}) is x
    assert not shapes._KNOWN


def test_what_holds_numbers_is_computed() -> None:
    assert result_of(aten.add.Tensor, (torch.ones(2), torch.ones(2)), {}).tolist() == [2, 2]
    assert not shapes._KNOWN
