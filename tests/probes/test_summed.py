"""Elementwise products that are then summed are multiply-adds, by both counters; what is not summed is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from attnbench.probes.flops import Counts, count
from attnbench.probes.flops_torch import ELEMENTWISE

TOKENS, DIM = 5, 8
ELEMENTS = TOKENS * DIM
Call = Callable[[Tensor, Tensor], Tensor]


def counted(call: Call) -> Counts:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(DIM))

        def forward(self, x: Tensor) -> Tensor:
            return call(x, self.weight)

    return count(lambda: (Layer(), (torch.empty(1, TOKENS, DIM),)))


def neighbour(x: Tensor, by: int = 1) -> Tensor:
    return x.roll(by, 1)


def first_token(x: Tensor) -> Tensor:
    return torch.zeros(TOKENS, dtype=torch.long, device=x.device)


def added_one_by_one(x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    for by in range(4):
        total += x * neighbour(x, by + 1)
    return total


def added_into(x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    for by in range(4):
        total = torch.addcmul(total, x, neighbour(x, by + 1))
    return total


def written_into_a_buffer(x: Tensor) -> Tensor:
    room = torch.zeros(1, 2 * TOKENS, DIM, device=x.device)
    room[:, :TOKENS] = x * neighbour(x)
    return room.sum(-1)


@pytest.mark.parametrize(
    ("call", "macs"),
    [
        pytest.param(lambda x, _: (x * neighbour(x)).sum(-1), ELEMENTS, id="sum"),
        pytest.param(lambda x, _: (x * neighbour(x) * 0.5).mean(1), ELEMENTS, id="scaled, mean"),
        pytest.param(lambda x, _: (x.unfold(1, 3, 1) * x[:, 1:-1, :, None]).sum(2), 3 * DIM * 3, id="neighbourhood"),
        pytest.param(lambda x, _: (x.softmax(1) * x).sum(1), ELEMENTS, id="weighted mean"),
        pytest.param(lambda x, _: torch.linalg.vecdot(x, neighbour(x)), ELEMENTS, id="vecdot"),
        pytest.param(lambda x, _: torch.einsum("bnd,bnd->bn", x, neighbour(x)), ELEMENTS, id="einsum"),
        pytest.param(lambda x, _: torch.cdist(x, neighbour(x)), TOKENS * ELEMENTS, id="cdist"),
        pytest.param(
            lambda x, _: torch.cdist(x.repeat(1, 9, 1), neighbour(x)), 9 * TOKENS * ELEMENTS, id="cdist of many rows"
        ),
        pytest.param(
            lambda x, _: (x[..., None] * neighbour(x)[:, :, None]).cumsum(1), DIM * ELEMENTS, id="cumulative sum"
        ),
        pytest.param(
            lambda x, _: torch.zeros_like(x).index_add(1, first_token(x), x * neighbour(x)), ELEMENTS, id="index_add"
        ),
        pytest.param(
            lambda x, _: torch.zeros_like(x).scatter_add(
                1, first_token(x)[None, :, None].expand_as(x), x * neighbour(x)
            ),
            ELEMENTS,
            id="scatter_add",
        ),
        pytest.param(
            lambda x, _: torch.stack([x * neighbour(x, by) for by in (1, 2)]).sum(0), 2 * ELEMENTS, id="stacked"
        ),
        pytest.param(lambda x, _: sum(x * neighbour(x, by) for by in range(1, 5)), 4 * ELEMENTS, id="chain"),
        pytest.param(lambda x, _: added_one_by_one(x), 4 * ELEMENTS, id="chain in place"),
        pytest.param(lambda x, _: added_into(x), 4 * ELEMENTS, id="addcmul"),
        pytest.param(lambda x, _: F.avg_pool1d(x * neighbour(x), 2), ELEMENTS, id="pool"),
        pytest.param(
            lambda x, _: (x * neighbour(x)).masked_fill(x > 0, 0.0).reshape(-1, 4).sum(1), ELEMENTS, id="masked"
        ),
    ],
)
def test_products_that_are_summed_are_multiply_adds_of_the_attention_by_both_counters(call: Call, macs: int) -> None:
    found = counted(call)
    assert (found.macs_torch, found.macs_fvcore, found.macs_attention) == (macs, macs, macs)
    assert (found.remark, found.uncounted, found.unseen) == ("", (), {})


def test_a_product_with_a_weight_that_is_summed_is_no_attention() -> None:
    found = counted(lambda x, weight: (x * weight).sum(-1))
    assert (found.macs_torch, found.macs_fvcore, found.macs_attention) == (ELEMENTS, ELEMENTS, 0)


def test_what_is_written_into_a_buffer_and_summed_is_counted_by_torch() -> None:
    assert counted(lambda x, _: written_into_a_buffer(x)).macs_torch == ELEMENTS


def test_a_product_that_is_summed_twice_is_multiplied_once() -> None:
    def twice(x: Tensor, _: Tensor) -> Tensor:
        product = x * neighbour(x)
        return product.sum(-1) + product.mean(-1)

    assert counted(twice).macs_torch == ELEMENTS


def test_a_product_of_weights_alone_could_be_worked_out_once() -> None:
    found = counted(lambda x, weight: x @ (weight[:, None] * weight.exp()).sum(0))
    assert found == Counts(macs_torch=ELEMENTS, macs_fvcore=ELEMENTS, macs_attention=0)
    assert found.unseen == {}


@pytest.mark.parametrize(
    ("call", "unsummed"),
    [
        pytest.param(lambda x, _: x * x.sigmoid(), ELEMENTS, id="gate"),
        pytest.param(lambda x, _: (x * x).sum(-1), 0, id="norm"),
        pytest.param(lambda x, _: x * x.sigmoid() + x.tanh() * neighbour(x), 2 * ELEMENTS, id="LSTM"),
        pytest.param(lambda x, weight: x + weight * x.tanh() + weight * x.exp(), 2 * ELEMENTS, id="layer scale"),
        pytest.param(lambda x, _: (x * neighbour(x)).relu().sum(-1), ELEMENTS, id="not linear"),
        pytest.param(lambda x, _: x + 0.5, 0, id="no product"),
    ],
)
def test_products_that_nothing_sums_are_none(call: Call, unsummed: int) -> None:
    found = counted(call)
    assert (found.macs_torch, found.macs_fvcore, found.macs_attention) == (0, 0, 0)
    assert found.unseen.get(ELEMENTWISE, 0) == unsummed


def test_a_gate_before_a_matrix_product_is_summed_there() -> None:
    found = counted(lambda x, weight: (x * x.sigmoid()) @ weight)
    assert (found.macs_torch, found.unseen) == (ELEMENTS, {})
