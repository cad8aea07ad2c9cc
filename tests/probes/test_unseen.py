"""What operators without a formula are estimated to be worth."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from attnbench.probes.flops import count

SIDE = 8
MAP = SIDE * SIDE


@torch.library.custom_op("judged::attend", mutates_args=())
def attend(x: Tensor) -> Tensor:
    return x.clone()


@attend.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@pytest.mark.parametrize(
    ("call", "operator", "macs"),
    [
        (lambda x: torch.fft.fft(x.to(torch.complex64)), "aten._fft_c2c", 2.5 * 3 * MAP * math.log2(SIDE)),
        (lambda x: torch.fft.fft2(x.to(torch.complex64)), "aten._fft_c2c", 2.5 * 3 * MAP * math.log2(MAP)),
        (
            lambda x: torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear"),
            "aten.upsample_bilinear2d",
            4 * 3 * 4 * MAP,
        ),
        (lambda x: x.cumsum(-1), "aten.cumsum", 2 * 3 * MAP),
        (lambda x: torch.linalg.inv_ex(x)[0], "aten.linalg_inv_ex", SIDE * (2 * 3 * MAP + 3)),
        (attend, "judged.attend", math.inf),
    ],
    ids=["fourier", "fourier of two sides", "interpolation", "scan", "inverse", "somebody else's"],
)
def test_an_operator_without_a_formula_has_an_estimate(call, operator: str, macs: float) -> None:
    class Layer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return call(x)

    found = count(lambda: (Layer(), (torch.empty(1, 3, SIDE, SIDE),)))
    assert found.unseen == {operator: macs}
    assert found.uncounted == (operator,)


def test_what_a_plugin_says_of_its_own_operator_is_counted_and_still_no_counters_word(monkeypatch) -> None:
    from torch.utils.flop_counter import flop_registry, shape_wrapper

    class Layer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return attend(x)

    monkeypatch.setitem(flop_registry, torch.ops.judged.attend, shape_wrapper(lambda *_, **__: 2 * MAP))
    found = count(lambda: (Layer(), (torch.empty(1, SIDE, SIDE),)))
    assert (found.macs_torch, found.uncounted) == (MAP, ("judged.attend",))


def test_a_formula_of_torch_that_a_plugin_replaces_stays_torchs(monkeypatch) -> None:
    from torch.utils.flop_counter import flop_registry

    monkeypatch.setitem(flop_registry, torch.ops.aten.mm, lambda *_, **__: 0)
    assert count(lambda: (nn.Linear(SIDE, SIDE), (torch.empty(1, SIDE),))).macs_torch == SIDE**2
