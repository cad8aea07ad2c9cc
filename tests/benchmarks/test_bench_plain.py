"""H-MHSA and QnA against the plain formulations of the same layers, in interleaved rounds: the ratio is printed.

The layer must not be slower: the lower end of the ratio's 95 % interval stays at or below 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from plain import PlainHMHSA, PlainQnA
from torch import Tensor, nn

from attnbench.mechanism import Site
from attnbench.models import backbone
from attnbench.models.pyramid import SWIN_T_SIZED
from attnbench.plugins.registry import discover
from attnbench.probes.latency import TimingSettings, time_interleaved

STAGES = [stage[0] for stage in backbone.sites(SWIN_T_SIZED, 224, 224)]
PADDED = replace(STAGES[1], height=64, width=64)
PLAIN: dict[str, Callable[..., nn.Module]] = {"hmhsa": PlainHMHSA, "qna": PlainQnA}
CASES = [
    *(("hmhsa", site, {}) for site in [*STAGES, PADDED]),
    *(("qna", site, {"window": window}) for site in [*STAGES, PADDED] for window in (3, 7, 15)),
]
SETTINGS = TimingSettings(precision=0.01, max_time_s=4.0)


def _step(model: nn.Module, x: Tensor, mode: str) -> Callable[[], object]:
    def infer() -> object:
        with torch.inference_mode():
            return model(x)

    def train() -> None:
        model.zero_grad(set_to_none=True)
        x.grad = None
        model(x).sum().backward()

    return infer if mode == "infer" else train


def _name(case: object) -> str | None:
    return f"{case.height}x{case.width}x{case.dim}" if isinstance(case, Site) else None


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize(("name", "site", "options"), CASES, ids=_name)
def test_no_slower_than_the_plain_formulation(
    name: str, site: Site, options: dict[str, int], mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    layer = discover().plugins[name].load()(site, **options)
    plain = PLAIN[name](layer)
    x = torch.randn(1, site.height, site.width, site.dim)
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-3, atol=1e-4)
    x.requires_grad_(mode == "train")
    calls = {"plain": _step(plain, x, mode), name: _step(layer, x, mode)}
    ratio = time_interleaved(calls, baseline="plain", settings=SETTINGS)[name].ratio
    assert ratio is not None
    with capsys.disabled():
        described = " ".join([name, _name(site) or "", mode, *(f"{key}={value}" for key, value in options.items())])
        print(f"\n{described}: {ratio.value:.3f} of plain [{ratio.low:.3f}, {ratio.high:.3f}]", end="")  # noqa: T201
    assert ratio.low <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("site", STAGES[:3], ids=_name)
def test_a_window_of_15_trains_in_proportion_to_one_of_13(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Its weights are 1.33 times as many; where oneDNN's kernel ends, it would take five to ten times as long."""
    torch.manual_seed(0)
    mechanism = discover().plugins["qna"].load()
    x = torch.randn(4, site.height, site.width, site.dim, requires_grad=True)
    calls = {str(window): _step(mechanism(site, window=window), x, "train") for window in (13, 15)}
    ratio = time_interleaved(calls, baseline="13", settings=SETTINGS)["15"].ratio
    assert ratio is not None
    with capsys.disabled():
        print(f"\nqna {_name(site)}: {ratio.value:.3f} of a window of 13 [{ratio.low:.3f}, {ratio.high:.3f}]", end="")  # noqa: T201
    assert ratio.low <= 15**2 / 13**2
