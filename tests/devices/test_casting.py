"""Automatic mixed precision as an axis: what a call then computes in, and where it cannot be had."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from attnbench import runtimes
from attnbench.axes import AXES
from attnbench.devices import casting
from attnbench.models import calls, subject
from attnbench.record import Cell, Mode, Scope
from attnbench.worker.copies import Copies
from attnbench.worker.witness import Testimony as Kept

CELL = Cell(
    mechanism="mhsa", options={"qkv_bias": True, "backend": "sdpa"}, scope=Scope.LAYER, height=64, width=64, stage=3,
    dim=16, heads=2, depth=1, autocast="bfloat16",
)  # fmt: skip


class Linear(nn.Module):
    """Returns its product with the type that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)
        self.types: list[torch.dtype] = []

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        self.types.append(y.dtype)
        return y


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("asked", "type_"), [("off", torch.float32), ("bfloat16", torch.bfloat16)])
def test_products_of_a_call_have_the_type_that_is_asked_for(mode: Mode, asked: str, type_: torch.dtype) -> None:
    model, x = Linear(), torch.randn(2, 16, requires_grad=mode is Mode.TRAIN)
    cell = replace(CELL, autocast=asked, mode=mode)
    calls.call(cell, model, x, forget=calls.forget(model, x))()
    assert model.types == [type_]
    assert not torch.is_autocast_enabled("cpu")
    if mode is Mode.TRAIN:
        assert model.linear.weight.grad is not None
        assert model.linear.weight.grad.dtype is torch.float32


def test_a_cell_that_casts_nothing_keeps_its_key_and_is_called_as_it_is() -> None:
    off = replace(CELL, autocast="off")
    assert replace(off, autocast=AXES["autocast"].read("off")).key == off.key != CELL.key
    assert CELL.group == off.group, "timed in turn"
    assert CELL.label == "mhsa, autocast bfloat16"
    model = Linear()
    assert casting.around(model, off) is model


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch casts on CUDA where it is")
def test_what_torch_cannot_cast_is_unsupported_and_not_silently_left_as_it_is() -> None:
    assert not casting.why_not(CELL)
    assert "does not cast to bfloat16 on cuda:0: " in casting.why_not(replace(CELL, device="cuda:0"))


def test_who_cannot_be_asked_for_it_says_so() -> None:
    for name in ("onnxruntime", "openvino"):
        assert "--autocast is torch's" in runtimes.of(name).why_unsupported(replace(CELL, runtime=name))
    assert "float16" in runtimes.of("torch").why_unsupported(replace(CELL, dtype="float16"))
    assert not runtimes.of("torch").why_unsupported(CELL)


def test_its_products_are_of_the_type_cast_to() -> None:
    assert CELL.products == "bfloat16"
    assert replace(CELL, autocast="off", dtype="float16").products == "float16"


def test_the_copy_is_cast_and_the_exact_one_is_not() -> None:
    copies = Copies(cell=CELL, seed=0)
    kept = Kept(call=1, number=5, picks=3, tensors={})
    plain, exact = copies.plainly(kept), copies.exactly(kept)
    assert exact is not None
    model, x = calls.place(subject.of(replace(CELL, autocast="off")), seed=0)
    calls.values(CELL, x).fill(5)
    with torch.no_grad():
        right = model.eval()(x).reshape(-1)
    torch.testing.assert_close(exact["output 0"], right)
    off = float((plain["output 0"] - right).abs().max() / right.abs().max())
    assert 1e-6 < off < 2**-6
