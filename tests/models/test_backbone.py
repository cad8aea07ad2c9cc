from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from attnbench.mechanism import Macs, Map, Mechanism, Site
from attnbench.models.backbone import Backbone, Stack, macs_around, sites
from attnbench.models.pyramid import SWIN_T_SIZED, Pyramid
from attnbench.plugins.registry import discover

SMALL = Pyramid(dims=(8, 16, 24, 32), depths=(1, 2, 1, 1), heads=(1, 2, 3, 4), mlp_ratio=2)


class Counting(Mechanism):
    """Returns zeros and carries the number of layers so far."""

    seen: list[tuple[Site, Any]]

    def forward(self, x: Map) -> Map:
        return torch.zeros_like(x)

    def step(self, x: Map, carry: Any) -> tuple[Map, Any]:
        self.seen.append((self.site, carry))
        return self(x), (carry or 0) + 1

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:
        return Macs(projections=0, attention=0)


def test_sides_are_halved_rounding_up() -> None:
    stages = sites(SMALL, 33, 70)
    assert [(s[0].height, s[0].width, s[0].stride) for s in stages] == [(9, 18, 4), (5, 9, 8), (3, 5, 16), (2, 3, 32)]


def test_every_site_knows_its_place() -> None:
    stages = sites(SMALL, 64, 64)
    assert [(s.layer, s.depth) for s in stages[1]] == [(0, 2), (1, 2)]
    assert stages[0][0].before is None
    assert stages[1][0].before == stages[0][-1]
    assert stages[2][0].before == stages[1][-1]


def test_the_carry_runs_from_stage_to_stage() -> None:
    seen: list[tuple[Site, Any]] = []
    Counting.seen = seen
    Backbone(Counting, height=64, width=64, classes=3, pyramid=SMALL)(torch.randn(1, 3, 64, 64))
    assert [carry for _, carry in seen] == [None, 1, 2, 3, 4]
    assert [site for site, _ in seen] == list(chain.from_iterable(sites(SMALL, 64, 64)))


@pytest.mark.parametrize("size", [(64, 64), (33, 70), (1, 1)])
def test_what_stands_around_the_mechanisms_costs_what_a_machine_counts(size: tuple[int, int]) -> None:
    Counting.seen = []
    with torch.device("meta"):
        model = Backbone(Counting, height=size[0], width=size[1], classes=7, pyramid=SMALL)
        x = torch.empty(1, 3, *size)
    with FlopCounterMode(display=False) as counter:
        assert model(x).shape == (1, 7)
    assert counter.get_total_flops() == 2 * macs_around(sites(SMALL, *size), pyramid=SMALL, classes=7)


def test_with_swin_layers_it_has_the_size_of_swin_t() -> None:
    swin = discover().plugins["swin"].load()
    with torch.device("meta"):
        ours = Backbone(swin, height=224, width=224)
        timms = timm.create_model("swin_tiny_patch4_window7_224")
    params = [sum(p.numel() for p in model.parameters()) for model in (ours, timms)]
    assert params[0] == pytest.approx(params[1], rel=0.01)
    closed = macs_around(sites(SWIN_T_SIZED, 224, 224))
    closed += sum(swin.macs(site).total for site in chain.from_iterable(sites(SWIN_T_SIZED, 224, 224)))
    assert closed == pytest.approx(4.49e9, rel=0.02)


@pytest.mark.parametrize("name", sorted(discover().plugins))
@pytest.mark.parametrize("size", [(64, 64), (40, 72)])
def test_every_mechanism_trains_in_it(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = Backbone(discover().plugins[name].load(), height=size[0], width=size[1], classes=5, pyramid=SMALL)
    logits = model(torch.randn(2, 3, *size))
    logits.sum().backward()
    assert logits.shape == (2, 5)
    learned = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    idle = [n for n, grad in learned.items() if grad is None or not grad.isfinite().all()]
    assert not idle


def test_a_stack_adds_each_layer_to_its_input() -> None:
    class Doubling(Counting):
        def forward(self, x: Map) -> Map:
            return x

    site = Site(height=2, width=2, dim=4, heads=1, depth=3)
    x = torch.randn(1, 2, 2, 4)
    Counting.seen = []
    stack = Stack([Doubling(replace(site, layer=index)) for index in range(3)])
    assert torch.equal(stack(x), 8 * x)
    assert isinstance(stack, nn.Module)
