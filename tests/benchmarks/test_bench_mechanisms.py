"""Every registered mechanism at the sites of the backbone, through pytest-benchmark."""

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from attnbench.models import backbone
from attnbench.models.pyramid import SWIN_T_SIZED
from attnbench.plugins.registry import discover

NAMES = sorted(discover().plugins)
SITES = {f"stage{index + 1}": stage[0] for index, stage in enumerate(backbone.sites(SWIN_T_SIZED, 224, 224))}


@pytest.mark.parametrize("place", SITES)
@pytest.mark.parametrize("name", NAMES)
def test_forward(benchmark: BenchmarkFixture, name: str, place: str) -> None:
    site, mechanism = SITES[place], discover().plugins[name].load()
    benchmark.group = f"forward {place}: {site.height}x{site.width} tokens, dim {site.dim}"
    benchmark.extra_info["macs"] = mechanism.macs(site).total
    torch.manual_seed(0)
    layer, x = mechanism(site).eval(), torch.randn(1, site.height, site.width, site.dim)
    with torch.inference_mode():
        benchmark(layer, x)


@pytest.mark.parametrize("name", NAMES)
def test_training_step(benchmark: BenchmarkFixture, name: str) -> None:
    site, mechanism = SITES["stage3"], discover().plugins[name].load()
    benchmark.group = f"forward and backward: {site.height}x{site.width} tokens, dim {site.dim}"
    torch.manual_seed(0)
    layer = mechanism(site)
    x = torch.randn(1, site.height, site.width, site.dim, requires_grad=True)

    def step() -> None:
        layer.zero_grad(set_to_none=True)
        layer(x).sum().backward()

    benchmark(step)
