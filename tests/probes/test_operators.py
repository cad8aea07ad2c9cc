"""Where a call's time goes: by hand on made-up spans, and on a module whose operators can be counted."""

import torch
from torch import nn

from attnbench import devices
from attnbench.probes import operators
from attnbench.probes.operators import ProfiledSpan


def test_the_time_of_what_is_within_another_is_its_own() -> None:
    spans = [
        ProfiledSpan("a", 0, 100),
        ProfiledSpan("b", 10, 40),
        ProfiledSpan("c", 20, 30),
        ProfiledSpan("d", 50, 60),
        ProfiledSpan("e", 100, 105),
    ]
    assert {span.name: own for span, own in operators.self_times(spans)} == {"a": 60, "b": 20, "c": 10, "d": 10, "e": 5}


def test_kernels_that_run_at_once_keep_a_device_busy_once() -> None:
    assert operators._union_ns([ProfiledSpan("a", 0, 10), ProfiledSpan("b", 5, 12), ProfiledSpan("c", 20, 21)]) == 13


def test_operators_are_counted_a_call_and_the_layers_within_the_call() -> None:
    layer, cpu = nn.Linear(8, 8), devices.of("cpu")
    x = torch.ones(4, 8)
    renewed = []
    with operators.marked([layer]), torch.no_grad():
        found = operators.measure(
            lambda: layer(layer(x)).exp(),
            renew=lambda: renewed.append(1),
            timer=cpu.timer(),
            synchronize=cpu.synchronize,
            calls=2,
            warm_up=1,
        )
    ran = {each.name: each.launches for each in found.operators}
    assert ran["aten::linear"] == ran["aten::addmm"] == 2
    assert ran["aten::exp"] == 1
    assert len(renewed) == 5
    assert found.attention_s is not None
    assert 0 < found.attention_s < found.total_s
    assert not found.on_device
    assert not layer._forward_hooks
