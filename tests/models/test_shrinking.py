"""Layers that make their map smaller: where those after them stand, what they cost, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from attnbench.errors import PluginError
from attnbench.mechanism import Macs, Map, MapAfter, Mechanism, Site, pooled
from attnbench.mechanisms.hiera import MaskUnitAttention
from attnbench.models.backbone import Backbone, LayersOf, Stack, down, sites
from attnbench.models.pyramid import SWIN_T_SIZED, Pyramid
from attnbench.models.subject import MechanismSubject
from attnbench.record import Cell, Scope, Task
from attnbench.runs.job import Assignment, Settings
from attnbench.testing import check
from attnbench.worker.counts import count
from attnbench.worker.ready import Unmeasurable
from attnbench.worker.scoring import measure_accuracy
from attnbench.worker.validation import validate

SMALL = Pyramid(dims=(8, 16, 24), depths=(1, 2, 1), heads=(1, 2, 3), mlp_ratio=2)
SITE = Site(height=7, width=10, dim=8, heads=2, stride=8)


class Strided(Mechanism):
    """Takes the largest of each block of some layers."""

    def __init__(self, site: Site, *, by: int = 2, of: int = 0) -> None:
        super().__init__(site)
        self.shrunk_by = self.shrinks(site, by=by, of=of)

    def forward(self, x: Map) -> MapAfter:
        return pooled(x, self.shrunk_by)

    @classmethod
    def shrinks(cls, site: Site, *, by: int = 2, of: int = 0) -> int:
        return by if site.layer == of and site.before is not None else 1

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:
        return Macs(projections=0, attention=0)


class Unsaid(Strided):
    """Shrinks its map, and its class does not say so."""

    @classmethod
    def shrinks(cls, site: Site, **options: Any) -> int:
        return 1

    def forward(self, x: Map) -> MapAfter:
        return pooled(x, 2)


class Twofold(Strided):
    """Says of itself what its class does not say."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.shrunk_by = 3


def test_what_is_left_over_at_the_border_is_pooled_too() -> None:
    x = torch.arange(15.0).view(1, 3, 5, 1)
    assert pooled(x, 2).flatten().tolist() == [6, 8, 9, 11, 13, 14]


def test_layers_of_a_stack_stand_at_what_those_before_them_left() -> None:
    placed = down([replace(SITE, layer=layer) for layer in range(4)], lambda site: 2 if site.layer in {0, 2} else 1)
    assert [(site.height, site.width, site.stride) for site in placed] == [
        (7, 10, 8),
        (4, 5, 16),
        (4, 5, 16),
        (2, 3, 32),
    ]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 70), (5, 100)])
def test_in_a_backbone_all_other_layers_have_the_maps_that_any_mechanism_has(height: int, width: int) -> None:
    build = LayersOf(mechanism=Strided)
    usual, here = sites(SMALL, height, width), sites(SMALL, height, width, shrinks=build.shrinks)
    assert [stage[0].shrunk(by) for stage, by in zip(here, (1, 2, 2), strict=True)] == [
        replace(each[0], before=stage[0].before) for each, stage in zip(usual, here, strict=True)
    ]
    assert here[0] == usual[0]
    assert here[1][1] == usual[1][1]
    assert here[1][0].stride == 4
    model = Backbone(build, height=height, width=width, classes=3, pyramid=SMALL)
    assert model(torch.randn(2, 3, height, width)).shape == (2, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": 3}, "it shrinks its map by 3, and patches of 2 cannot be smaller by as much"),
        ({"of": 1}, "a layer after the first of a stage shrinks its map; of the backbone's layers only the first may"),
    ],
)
def test_what_cannot_stand_in_a_backbone_is_unsupported_there_with_a_reason(options: Any, said: str) -> None:
    cell = Cell(mechanism="strided", options=options, height=64, width=64)
    assert MechanismSubject(cell=cell, mechanism=Strided).why_unsupported() == said
    assert MechanismSubject(cell=_in_layers(cell), mechanism=Strided).why_unsupported() is None


def _in_layers(cell: Cell) -> Cell:
    return replace(cell, scope=Scope.LAYER, stage=3, dim=32, heads=2, depth=3)


@pytest.mark.parametrize("layered", [False, True], ids=["backbone", "layer"])
def test_the_closed_form_of_all_that_is_built_is_what_both_counters_find(layered: bool) -> None:
    cell = Cell(mechanism="hiera", options={"pool": 2}, height=128, width=96)
    asked = MechanismSubject(cell=_in_layers(cell) if layered else cell, mechanism=MaskUnitAttention)
    found = count(asked)
    assert found["macs"] == found["macs_closed"] == found["macs_torch"] == found["macs_fvcore"]
    assert not found["macs_doubt"]


def test_hieras_layers_have_the_maps_and_units_of_the_papers_network() -> None:
    shrinks = LayersOf(mechanism=MaskUnitAttention, options={"pool": 2}).shrinks
    model = Backbone(
        LayersOf(mechanism=MaskUnitAttention, options={"pool": 2}), height=224, width=224, pyramid=SWIN_T_SIZED
    )
    layers = [stage.blocks[0].mechanism for stage in model.stages]  # type: ignore[union-attr, index]
    assert [(layer.site.height, layer.shrunk_by) for layer in layers] == [(56, 1), (56, 2), (28, 2), (14, 2)]
    assert [layer.kinds[0].rows.size for layer in layers] == [8, 8, 4, 14]
    assert [stage[1].height for stage in sites(SWIN_T_SIZED, 224, 224, shrinks=shrinks)] == [56, 28, 14, 7]


def test_a_layer_that_shrinks_its_map_unsaid_is_refused() -> None:
    said = r"returned \(1, 4, 5, 8\) for a map of \(1, 7, 10, 8\); the shape must be kept"
    with pytest.raises(PluginError, match=said):
        validate(Stack([Unsaid(SITE)]), torch.randn(1, 7, 10, 8))
    with pytest.raises(PluginError, match="has shrunk_by=3 where shrinks says 1; set one by the other"):
        LayersOf(mechanism=Twofold)(SITE)


@pytest.mark.parametrize(
    ("dataset", "pool", "said"),
    [
        ("shift", 2, "it shrinks its map, and a task asks for an answer at each token"),
        ("digits", 3, "it shrinks its map by 3, and patches of 2 cannot be smaller by as much"),
    ],
)
def test_what_cannot_be_trained_is_unsupported_with_a_reason(dataset: str, pool: int, said: str) -> None:
    options = {"pool": pool, "unit": 3 if pool == 3 else 0}
    cell = Cell(task=Task.ACCURACY, mechanism="hiera", options=options, dataset=dataset, height=8, width=8, seeds=1)
    with pytest.raises(Unmeasurable, match=said):
        measure_accuracy(Assignment(cell=cell), Settings(), lambda _: None, lambda *_: None, lambda _: None)


@pytest.mark.parametrize("by", [0, -2, 2.0, True, None])
def test_what_is_no_stride_is_refused(by: Any) -> None:
    wrong = type("Wrong", (Mechanism,), {"forward": lambda self, x: x, "shrinks": classmethod(lambda *_, **__: by)})
    with pytest.raises(PluginError, match=r"Wrong\.shrinks is .*; it is a whole number from 1"):
        LayersOf(mechanism=wrong).shrinks(SITE)


def test_the_kit_holds_a_layer_that_shrinks_its_map_to_what_it_says() -> None:
    checks = ["supported", "shape", "gradients-reach", "half-precision", "macs", "compiles", "exports"]
    pools = check("hiera:pool=2", checks=checks, sites=[SITE])
    assert pools.passed, str(pools)
    for wrong, said in ((Unsaid, "the shape of the map"), (Twofold, "1, as shrinks says")):
        assert said in str(check(wrong, checks=["shape"], sites=[SITE]))


def test_work_of_a_shrinking_layer_is_less_than_that_of_one_that_keeps_its_map() -> None:
    site, counted = replace(SITE, dim=16), []
    for pool in (1, 2):
        with FlopCounterMode(display=False) as counter:
            MaskUnitAttention(site, pool=pool, backend="unfused")(torch.randn(1, 7, 10, 16))
        counted.append(counter.get_total_flops())
        assert counted[-1] == 2 * MaskUnitAttention.macs(site, pool=pool).total
    assert counted[1] < counted[0]
