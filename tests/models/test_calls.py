"""What a timed call leaves behind."""

from dataclasses import replace

import pytest
import torch

from attnbench.models import calls, subject
from attnbench.record import Cell, Mode, Scope

BACKBONE = Cell(mechanism="mhsa", options={"qkv_bias": True, "backend": "sdpa"}, height=64, width=96, batch=2)
LAYER = replace(BACKBONE, scope=Scope.LAYER, stage=3, dim=24, heads=3, depth=4)


@pytest.mark.parametrize("cell", [BACKBONE, LAYER], ids=["backbone", "layer"])
def test_inference_keeps_nothing_for_a_backward_pass(cell: Cell) -> None:
    model, x = subject.of(cell).build(), subject.of(cell).example()
    call = calls.call(cell, model, x, forget=calls.forget(model, x))
    y = call()
    assert isinstance(y, torch.Tensor)
    assert not y.requires_grad


@pytest.mark.parametrize("cell", [BACKBONE, LAYER], ids=["backbone", "layer"])
def test_a_training_step_leaves_the_gradients_of_one_step(cell: Cell) -> None:
    cell = replace(cell, mode=Mode.TRAIN)
    torch.manual_seed(0)
    model, x = subject.of(cell).build(), subject.of(cell).example()
    call = calls.call(cell, model, x, forget=calls.forget(model, x))
    call()
    once = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    call()
    assert once.keys() == {name for name, _ in model.named_parameters()}
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, once[name])
    assert (x.grad is not None) == (cell.scope is Scope.LAYER)
