"""What every registered mechanism must keep, over maps of every shape. New mechanisms are tested by being registered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from attnbench.backbone import Stack
from attnbench.mechanism import Mechanism, Site
from attnbench.options import choices
from attnbench.registry import discover

NAMES = sorted(discover().plugins)
MAPS = {"square": (14, 14), "wide": (7, 21), "odd": (9, 5), "one token": (1, 1)}
STRIDES = [4, 8, 16, 32]
SITE = Site(height=14, width=14, dim=24, heads=3)


def mechanism(name: str) -> type[Mechanism]:
    return discover().plugins[name].load()


def sites(depth: int = 1) -> Iterator[Site]:
    for height, width in MAPS.values():
        for stride in STRIDES:
            yield replace(SITE, height=height, width=width, stride=stride, depth=depth)


def layer(name: str, site: Site, dtype: torch.dtype = torch.float64, **options: object) -> Mechanism:
    torch.manual_seed(0)
    return mechanism(name)(site, **options).to(dtype).eval()


def image(site: Site, batch: int = 2, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(batch, site.height, site.width, site.dim, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("name", NAMES)
def test_the_shape_of_every_map_is_kept_and_its_values_are_finite(name: str) -> None:
    for site in sites():
        y = layer(name, site)(image(site))
        assert y.shape == image(site).shape, site
        assert y.isfinite().all(), site


@pytest.mark.parametrize("name", NAMES)
def test_images_of_a_batch_do_not_see_each_other(name: str) -> None:
    for site in sites():
        model, x = layer(name, site), image(site, batch=3)
        together = model(x)
        apart = torch.cat([model(one) for one in x.split(1)])
        torch.testing.assert_close(together, apart, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_is_deterministic(name: str) -> None:
    model, x = layer(name, SITE), image(SITE)
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_input_and_all_parameters_that_a_stack_uses(name: str) -> None:
    site = replace(SITE, depth=3)
    torch.manual_seed(0)
    layers = [mechanism(name)(replace(site, layer=index)) for index in range(site.depth)]
    stack = Stack(layers).double()
    x = image(site).requires_grad_()
    stack(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0
    unused = [n for n, p in stack.named_parameters() if p.requires_grad and p.grad is None]
    assert not unused


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_stays_near_double(name: str, dtype: torch.dtype) -> None:
    model, x = layer(name, SITE), image(SITE)
    expected = model(x)
    found = layer(name, SITE).to(dtype)(x.to(dtype)).double()
    error = (found - expected).abs().max() / expected.abs().max()
    assert error < 8 * torch.finfo(dtype).eps


@pytest.mark.parametrize("name", NAMES)
def test_backends_are_one_layer(name: str) -> None:
    for site in sites():
        x = image(site)
        outputs = [layer(name, site, backend=each)(x) for each in choices(mechanism(name), "backend")]
        for output in outputs[1:]:
            torch.testing.assert_close(output, outputs[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_survives_the_round_trip(name: str) -> None:
    first = layer(name, SITE)
    torch.manual_seed(7)
    second = mechanism(name)(SITE).double().eval()
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(image(SITE)), second(image(SITE)))


@pytest.mark.parametrize("name", NAMES)
def test_the_closed_form_equals_a_count_by_machine(name: str) -> None:
    for site in sites(depth=3):
        placed = [replace(site, layer=index) for index in range(site.depth)]
        with torch.device("meta"):
            stack = Stack([mechanism(name)(each) for each in placed])
            x = torch.empty(1, site.height, site.width, site.dim)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            stack(x)
        closed = sum(mechanism(name).macs(each).total for each in placed)
        assert counter.get_total_flops() == 2 * closed, site


@pytest.mark.parametrize("name", NAMES)
def test_a_local_mechanism_does_not_reach_across_a_large_map_and_a_global_one_does(name: str) -> None:
    site = replace(SITE, height=32, width=32, stride=8)
    x = image(site, batch=1).requires_grad_()
    layer(name, site)(x)[0, 0, 0].sum().backward()
    assert x.grad is not None
    far = x.grad[0, 28:, 28:].abs().max()
    assert (far > 0) == (mechanism(name).reach == "global")


@pytest.mark.parametrize("name", NAMES)
def test_heads_that_do_not_divide_the_channels_are_refused_before_building(name: str) -> None:
    assert mechanism(name).why_unsupported(replace(SITE, heads=5)) is not None


@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_said_to_be_supported_is(name: str) -> None:
    for site in sites():
        if mechanism(name).why_unsupported(site) is None:
            layer(name, site)(image(site))
