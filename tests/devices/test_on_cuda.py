"""What holds on a CPU holds on a GPU, from one layer to a whole sweep. Run by ``pytest -m gpu`` where there is one.

What is done is in functions of a device, so that it can be tried on a CPU by hand: ``agrees("mhsa", "cpu")``.
"""

import copy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from attnbench import store
from attnbench.conformance.candidate import distance
from attnbench.mechanism import Site
from attnbench.plugins.registry import discover
from attnbench.probes.memory import peak, saved_for_backward
from attnbench.probes.memory_estimate import estimate
from attnbench.record import Mode, Record, Status
from attnbench.selfcheck import engine as selfcheck
from attnbench.selfcheck.trials import ERROR, TRUTHS
from attnbench.worker import torch_state

pytestmark = pytest.mark.gpu

DEVICE = "cuda"
OURS = sorted(name for name, plugin in discover().plugins.items() if plugin.module.startswith("attnbench.mechanisms."))
MIB = 2**20
SMALL = ["--scope", "layer", "--dim", "64", "--heads", "2", "--depth", "2", "--threads", "1", "--max-time", "0.5"]
GREEDY = '''
import torch
from attnbench.mechanisms.mhsa import MHSA


class Greedy(MHSA):
    """Takes nearly all memory and then more than there is, which nobody can estimate: it looks at numbers first."""

    def forward(self, x):
        if x.sum().item() != 0:
            free = torch.cuda.mem_get_info(x.device)[0] if x.is_cuda else 2**28
            taken = torch.empty(free - 2**28, dtype=torch.uint8, device=x.device)
            torch.empty(2**50, dtype=torch.uint8, device=x.device)
        return super().forward(x)
'''


def sweep(folder: Path, device: str, *arguments: str) -> list[Record]:
    """Measure by the command line, and return the rows."""
    command = [
        sys.executable,
        "-m",
        "attnbench.cli.main",
        "run",
        "--device",
        device,
        "--out",
        "run",
        *SMALL,
        *arguments,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return store.read(folder / "run")


def require_figures(row: Record) -> None:
    """Fail unless a row is whole: an interval around the median, a ratio, memory, what the machine would allow."""
    found = row.metrics
    assert (row.status, row.reason) == (Status.OK, "")
    assert 0 < found["latency_ci_low_s"] <= found["latency_median_s"] <= found["latency_ci_high_s"]
    assert 0 < found["latency_ratio_ci_low"] <= found["latency_ratio"] <= found["latency_ratio_ci_high"]
    assert found["memory_peak_bytes"] > 0
    assert found["latency_bound_s"] > 0


def attention(q: Tensor) -> Tensor:
    """Return attention in steps: of 4 heads, 1024 tokens and 64 channels, scores of 16 MiB."""
    return (q @ q.mT).softmax(-1) @ q


def heads(device: str, *, grad: bool = False) -> Tensor:
    return torch.randn(1, 4, 1024, 64, device=device, requires_grad=grad)


def agrees(name: str, device: str) -> tuple[float, float]:
    """Return how far a layer on a device is from itself on the CPU: its result, and the gradient of its input."""
    torch.manual_seed(0)
    layer = discover().plugins[name].load()(Site(height=14, width=14, dim=96, heads=3, stride=16)).eval()
    image = torch.randn(2, 14, 14, 96)

    def run(where: str) -> tuple[Tensor, Tensor]:
        x = image.to(where).requires_grad_()
        y = copy.deepcopy(layer).to(where)(x)
        return y.cpu(), torch.autograd.grad(y.square().sum(), x)[0].cpu()

    return tuple(distance(*pair) for pair in zip(run(device), run("cpu"), strict=True))


@pytest.fixture
def full_float32() -> Iterator[None]:
    """Without TF32, which convolutions have by default."""
    with torch_state.restored():
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        yield


def test_a_sweep_is_measured_in_every_type_and_mode(tmp_path):
    types = ["--dtype", "float32,float16,bfloat16", "--mode", "infer,train"]
    rows = sweep(tmp_path, DEVICE, "--mechanisms", "mhsa,swin", *types)
    assert len(rows) == 12
    assert (tmp_path / "run" / "plots" / "roofline.png").exists()
    for row in rows:
        require_figures(row)
        assert row.environment["hardware"] == torch.cuda.get_device_name(row.cell.device)


def test_a_compiled_layer_is_measured_beside_itself(tmp_path):
    rows = sweep(tmp_path, DEVICE, "--mechanisms", "mhsa", "--compile", "off,on")
    assert sorted(row.cell.compiled for row in rows) == [False, True]
    for row in rows:
        require_figures(row)
        assert row.metrics.get("recompilations", 0) == 0


def test_energy_is_counted_or_said_why_not(tmp_path):
    (row,) = sweep(tmp_path, DEVICE, "--mechanisms", "mhsa", "--energy", "--baseline", "none")
    found = row.metrics
    if "energy_remark" in found:
        assert "energy_per_image_j" not in found
        return
    assert found["energy_counter"].startswith("NVML")
    assert 0 < found["energy_per_image_ci_low_j"] < found["energy_per_image_j"] < found["energy_per_image_ci_high_j"]


def test_a_layer_twice_takes_twice_its_time_and_the_samples_account_for_it():
    found = selfcheck.run(repeats=10, device=DEVICE)
    for truth in TRUTHS:
        assert sum(trial.error() <= ERROR for trial in found.of(truth)) >= 9
    assert found.bars[-1].passed, found.bars[-1]


def test_peak_and_saved_memory_are_those_counted_by_hand():
    q = heads(DEVICE)
    assert peak(lambda: attention(q), device=DEVICE).peak_bytes == 2 * 16 * MIB  # scores and their softmax
    q = heads(DEVICE, grad=True)
    assert saved_for_backward(lambda: attention(q), exclude=[q]) == 16 * MIB  # the softmax


def test_the_memory_of_a_layer_is_estimated():
    site = Site(height=28, width=28, dim=192, heads=6, stride=8)
    build = discover().plugins["mhsa"].load()
    layer, x = build(site).to(DEVICE), torch.randn(4, 28, 28, 192, device=DEVICE)
    with torch.inference_mode():
        measured = peak(lambda: layer(x), device=DEVICE).peak_bytes
    estimated = estimate(lambda: (build(site), (torch.randn(4, 28, 28, 192),)), mode=Mode.INFER, device=DEVICE)
    assert estimated.peak_bytes == pytest.approx(measured, rel=0.05)


@pytest.mark.usefixtures("full_float32")
@pytest.mark.parametrize("name", OURS)
def test_a_layer_agrees_with_itself_on_the_cpu(name):
    result, gradient = agrees(name, DEVICE)
    assert result < 1e-4
    assert gradient < 1e-4


def test_a_layer_that_cannot_fit_is_refused_and_the_next_one_is_measured(tmp_path):
    large = ["--mechanisms", "mhsa:backend=unfused,swin", "--res", "8192", "--baseline", "none"]
    rows = sweep(tmp_path, DEVICE, *large)  # 550 GB of scores in each layer
    assert [row.status for row in rows] == [Status.OUT_OF_MEMORY, Status.OK]
    assert "not started" in rows[0].reason


def test_a_layer_that_runs_out_of_memory_leaves_it_to_the_next_one(tmp_path):
    (tmp_path / "greedy.py").write_text(GREEDY)
    names = ["--mechanisms", "mhsa,greedy.py:Greedy,swin", "--dim", "256", "--heads", "8", "--batch", "256"]
    rows = {row.cell.mechanism.rpartition(":")[2]: row for row in sweep(tmp_path, DEVICE, *names)}
    assert rows["Greedy"].status is Status.OUT_OF_MEMORY
    require_figures(rows["mhsa"])
    require_figures(rows["swin"])
