from dataclasses import replace

import pytest
import torch

from attnbench import subject
from attnbench.record import Cell, Mode, Scope
from attnbench.registry import discover

BACKBONE = Cell(mechanism="mhsa", options={"qkv_bias": True, "backend": "sdpa"}, height=64, width=96, batch=2)
LAYER = replace(BACKBONE, scope=Scope.LAYER, stage=3, dim=24, heads=3, depth=4)
MHSA = discover().plugins["mhsa"].load()


def asked(cell: Cell) -> subject.Subject:
    return subject.MechanismSubject(cell=cell, mechanism=MHSA)


def test_a_backbone_takes_images_and_a_stack_takes_maps() -> None:
    assert asked(BACKBONE).example().shape == (2, 3, 64, 96)
    assert asked(LAYER).example().shape == (2, 4, 6, 24)
    assert asked(LAYER).build()(asked(LAYER).example()).shape == (2, 4, 6, 24)


@pytest.mark.parametrize("cell", [BACKBONE, LAYER], ids=["backbone", "layer"])
def test_inference_keeps_nothing_for_a_backward_pass(cell: Cell) -> None:
    model, x = asked(cell).build(), asked(cell).example()
    call = subject.call(cell, model, x, forget=subject.forget(model, x))
    y = call()
    assert isinstance(y, torch.Tensor)
    assert not y.requires_grad


@pytest.mark.parametrize("cell", [BACKBONE, LAYER], ids=["backbone", "layer"])
def test_a_training_step_leaves_the_gradients_of_one_step(cell: Cell) -> None:
    cell = replace(cell, mode=Mode.TRAIN)
    torch.manual_seed(0)
    model, x = asked(cell).build(), asked(cell).example()
    call = subject.call(cell, model, x, forget=subject.forget(model, x))
    call()
    once = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    call()
    assert once.keys() == {name for name, _ in model.named_parameters()}
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, once[name])
    assert (x.grad is not None) == (cell.scope is Scope.LAYER)


def test_layer_figures_are_those_of_one_layer_of_the_stack() -> None:
    total, layers = subject.MechanismSubject(cell=LAYER, mechanism=MHSA).closed_form()
    tokens, dim = 24, 24
    assert asked(LAYER).layers == 4
    assert total == layers.total == 4 * (4 * tokens * dim**2 + 2 * tokens**2 * dim)


def test_what_is_unsupported_is_said_with_the_place() -> None:
    cell = replace(LAYER, heads=5)
    reason = asked(cell).why_unsupported()
    assert reason is not None
    assert reason.startswith("at 4x6 tokens, dim 24:")


def test_a_backend_that_a_mechanism_lacks_is_unsupported_not_an_error() -> None:
    cell = replace(BACKBONE, options={"backend": "warp"})
    assert asked(cell).why_unsupported() == "mhsa has no backend 'warp'; it has sdpa, unfused"


def test_adaptations_are_said_once_each() -> None:
    said = subject.of(Cell(mechanism="swin", height=512, width=512)).adaptation().split("; ")
    assert said
    assert len(said) == len(set(said))
