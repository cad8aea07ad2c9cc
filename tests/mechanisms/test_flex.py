"""FlexAttention as a backend: one kernel a case, each compiled, so that they are few."""

from typing import Any

import pytest
import torch
from layer_checks import flops_on_meta, site_of
from torch import Tensor

from attnbench.mechanism import Mechanism
from attnbench.mechanisms.dinat import DilatedNeighborhoodAttention
from attnbench.mechanisms.nat import NeighborhoodAttention
from attnbench.mechanisms.sasa import StandAloneAttention
from attnbench.mechanisms.swin import ShiftedWindowAttention, flexed
from attnbench.models import subject
from attnbench.record import Cell, Mode, Scope

CASES = [
    (ShiftedWindowAttention, site_of(9, 7, 1), {"window": 3}),
    (StandAloneAttention, site_of(9, 7), {"window": 5}),
    (NeighborhoodAttention, site_of(32, 8), {"window": 31}),
    (DilatedNeighborhoodAttention, site_of(9, 16, 1), {"window": 3}),
]
NAMES = ["swin", "sasa", "nat", "dinat"]


def layers(mechanism: type[Mechanism], *of: Any, **options: Any) -> tuple[Mechanism, Mechanism]:
    """The same layer by FlexAttention, and by what it is by default."""
    found = []
    for more in ({"backend": "flex"}, {}):
        torch.manual_seed(0)
        layer = mechanism(*of, **options, **more).eval()
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        found.append(layer)
    return found[0], found[1]


def calls(layer: Mechanism) -> list[str]:
    """The operators of this backend that an inference in float32 runs, by name."""
    ran = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            ran.append(str(func))
            return func(*args, **(kwargs or {}))

    site = layer.site
    with torch.device("meta"), torch.inference_mode(), Watch():
        layer.to("meta")(torch.empty(1, site.height, site.width, site.dim))
    return [name for name in ran if name.startswith("attnbench_flex")]


@pytest.mark.timeout(1200)  # a compiler of C++, on a machine that does something else
@pytest.mark.parametrize(("mechanism", "site", "options"), CASES, ids=NAMES)
def test_flex_attention_gives_what_the_layer_gives(mechanism: type[Mechanism], site: Any, options: Any) -> None:
    flex, plain = layers(mechanism, site, **options)
    x = torch.randn(2, site.height, site.width, site.dim)
    with torch.inference_mode():
        torch.testing.assert_close(flex(x), plain(x), rtol=1e-5, atol=1e-5)


@pytest.mark.timeout(1200)
def test_half_precision_is_near_and_new_weights_and_inputs_need_no_new_kernel() -> None:
    site = site_of(9, 7, 1)
    flex, plain = layers(ShiftedWindowAttention, site, window=3)
    flex = flex.bfloat16()
    kept = 0
    with torch.inference_mode():
        for seed in range(2):
            torch.manual_seed(seed)
            plain.table.normal_()
            flex.table.copy_(plain.table)
            x = torch.randn(2, 9, 7, 8)
            exact, found = plain(x), flex(x.bfloat16()).float()
            assert float((found - exact).abs().max()) < 0.05 * float(exact.abs().max())
            kept = kept or flexed._windows_kernel.cache_info().misses
    assert flexed._windows_kernel.cache_info().misses == kept


@pytest.mark.parametrize(("mechanism", "site", "options"), CASES, ids=NAMES)
def test_the_closed_form_is_counted_and_it_is_this_backend_that_runs(
    mechanism: type[Mechanism], site: Any, options: Any
) -> None:
    counted = flops_on_meta(mechanism, site, backend="flex", **options)
    macs = mechanism.macs(site, backend="flex", **options)
    assert sum(counted.values()) == 2 * macs.total
    flex, plain = layers(mechanism, site, **options)
    assert len(calls(flex)) == 1
    assert not calls(plain)


@pytest.mark.parametrize(("mechanism", "site", "options"), CASES, ids=NAMES)
def test_in_float64_and_in_exported_graphs_it_is_the_layer_as_it_is_by_default(
    mechanism: type[Mechanism], site: Any, options: Any
) -> None:
    flex, plain = layers(mechanism, site, **options)
    x = torch.randn(1, site.height, site.width, site.dim)
    with torch.no_grad():
        assert torch.equal(flex.double()(x.double()), plain.double()(x.double()))
    graph = torch.export.export(flex.float(), (x,)).graph
    assert not [node for node in graph.nodes if "attnbench_flex" in str(node.target)]


@pytest.mark.parametrize(
    "around",
    [
        flexed.Around((32, 8), (31, 8), (1, 1), inward=True),
        flexed.Around((9, 16), (3, 3), (3, 5), inward=True),
        flexed.Around((14, 20), (5, 5), (1, 1), inward=False),
    ],
)
def test_blocks_are_those_that_any_token_of_them_sees(around: flexed.Around) -> None:
    mask = flexed._blocks(around, torch.device("cpu"))
    tokens = around.side[0] * around.side[1]
    token = torch.arange(tokens)
    seen = mask.mask_mod(token, token, token[:, None], token)

    def listed(counts: Tensor, indices: Tensor) -> set[tuple[int, int]]:
        rows = zip(counts.flatten().tolist(), indices[0, 0].tolist(), strict=True)
        return {(row, block) for row, (count, blocks) in enumerate(rows) for block in blocks[:count]}

    whole = listed(mask.full_kv_num_blocks, mask.full_kv_indices)
    some = listed(mask.kv_num_blocks, mask.kv_indices)
    assert not whole & some
    for row in range(-(-tokens // flexed.BLOCK)):
        for column in range(-(-tokens // flexed.BLOCK)):
            down, across = (slice(at * flexed.BLOCK, (at + 1) * flexed.BLOCK) for at in (row, column))
            block = seen[down, across]
            full = block.shape == (flexed.BLOCK, flexed.BLOCK) and bool(block.all())
            assert ((row, column) in whole) == full
            assert ((row, column) in some) == (bool(block.any()) and not full)


def test_a_training_by_it_is_unsupported_and_another_backend_trains() -> None:
    cell = {"mechanism": "swin", "height": 64, "width": 64, "scope": Scope.LAYER, "stage": 3, "mode": Mode.TRAIN}
    asked = {name: subject.of(Cell(**cell, options={"backend": name})) for name in ("flex", "sdpa")}
    assert asked["flex"].why_unsupported() == "backend 'flex' only infers"
    assert asked["sdpa"].why_unsupported() is None
