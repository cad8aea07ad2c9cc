"""The published networks against their plain formulations at 224 x 224, in interleaved rounds: the ratio is printed.

A network must not be slower: the lower end of the ratio's 95 % interval stays at or below 1. Ratio and interval are
in pytest-benchmark's file beside the network's own time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from importlib import import_module

import pytest
import timm
import torch
from plain_networks import plain
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from attnbench.probes.latency import TimingSettings, time_interleaved

for _mechanism in ("hmhsa", "qna", "lavit"):
    import_module(f"attnbench.mechanisms.{_mechanism}.network")

TINY = ["hat_net_tiny", "qna_vit_tiny", "lavit_tiny"]
NETWORKS = [
    *("hat_net_tiny", "hat_net_small", "hat_net_medium", "hat_net_large"),
    *("qna_vit_tiny", "qna_vit_tiny_7x7", "qna_vit_small", "qna_vit_base"),
    *("lavit_tiny", "lavit_small", "lavit_base"),
]
SETTINGS = TimingSettings(precision=0.01, max_time_s=10.0)
QUICK = replace(SETTINGS, max_time_s=1.0)


def _drawn(name: str) -> nn.Module:
    """Return a network without dropout, no parameter of which is zero."""
    torch.manual_seed(0)
    network = timm.create_model(name, drop_rate=0.0, drop_path_rate=0.0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return network


def _step(network: nn.Module, images: Tensor) -> Callable[[], object]:
    def infer() -> object:
        with torch.inference_mode():
            return network(images)

    def train() -> None:
        network.zero_grad(set_to_none=True)
        network(images).sum().backward()

    return train if network.training else infer


def _compare(
    network: nn.Module, settings: TimingSettings, benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Time a network and its plain formulation, and assert that outputs are equal and the network not slower."""
    other, images = plain(network), torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        found, expected = network(images), other(images)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()
    calls = {"plain": _step(other, images), "ours": _step(network, images)}
    timings = time_interleaved(calls, baseline="plain", settings=settings)
    ratio = timings["ours"].ratio
    assert ratio is not None
    benchmark.extra_info |= {"ratio_to_plain": asdict(ratio), "threads": torch.get_num_threads()}
    benchmark.pedantic(calls["ours"], rounds=3)
    with capsys.disabled():
        medians = " and ".join(f"{name} {timing.median.value * 1e3:.1f} ms" for name, timing in timings.items())
        print(f"\n{benchmark.name}: {ratio.value:.3f} of plain [{ratio.low:.3f}, {ratio.high:.3f}], {medians}", end="")  # noqa: T201
    assert ratio.low <= 1.0


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_network_is_no_slower_than_its_plain_formulation(
    name: str, benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    _compare(_drawn(name).eval(), QUICK, benchmark, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_no_slower_than_the_plain_formulation(
    name: str, benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    _compare(_drawn(name).eval(), SETTINGS, benchmark, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETWORKS if "tiny" in name])
def test_trains_no_slower_than_the_plain_formulation(
    name: str, benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    _compare(_drawn(name).train(), SETTINGS, benchmark, capsys)
