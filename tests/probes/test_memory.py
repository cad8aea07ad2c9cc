"""Peak memory and memory saved for backward, against hand counts and against what the kernel of the machine says."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from attnbench.probes.memory import peak, ran_out, saved_for_backward

MIB = 2**20
THOUSAND_FLOATS = 4000

RESIDENT = """
import ctypes, torch
from attnbench.probes.memory import peak

torch.set_num_threads(1)
q = torch.randn(1, 6, 784, 64)

def call():
    return (q @ q.transpose(-1, -2)).softmax(-1) @ q

def kilobytes(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))

print(peak(call, device="cpu").peak_bytes)
ctypes.CDLL(None).malloc_trim(0)
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")
before = kilobytes("VmRSS")
call()
print((kilobytes("VmHWM") - before) * 1024)
"""


def peak_bytes(call: Callable[[], object], **settings: Callable[[], object]) -> int:
    return peak(call, device="cpu", **settings).peak_bytes


def unfused(tokens: int, *, grad: bool = False) -> Callable[[], Tensor]:
    q, k, v = (torch.randn(1, 6, tokens, 64, requires_grad=grad) for _ in range(3))
    return lambda: (q * 64**-0.5 @ k.transpose(-1, -2)).softmax(-1) @ v


def test_peak_counts_temporaries_and_output_but_not_the_input():
    x = torch.randn(1000)

    def call() -> Tensor:
        a = x.neg()
        b = a.exp()  # a and b live
        del a
        return b.sin()  # b and the output live

    assert peak_bytes(call) == 2 * THOUSAND_FLOATS


def test_peak_of_a_linear_layer_is_its_output():
    layer, x = nn.Linear(30, 50), torch.randn(20, 30)
    with torch.no_grad():
        assert peak_bytes(lambda: layer(x)) == 20 * 50 * 4


def test_memory_that_only_the_first_call_takes_is_not_counted():
    kept: list[Tensor] = []

    def call() -> None:
        if not kept:
            kept.append(torch.empty(1_000_000))
        torch.empty(1000)

    assert peak_bytes(call) == THOUSAND_FLOATS


def test_releasing_what_an_earlier_call_left_makes_room_for_the_next():
    kept: dict[str, Tensor] = {}

    def call() -> None:
        kept.clear()
        kept["x"] = torch.empty(1000)

    assert peak_bytes(call) == 0
    assert peak_bytes(call, forget=kept.clear) == THOUSAND_FLOATS


def test_gradients_count_in_a_training_step_and_every_measurement_agrees():
    w = torch.randn(100, 100, requires_grad=True)
    x = torch.randn(10, 100)

    def call() -> None:
        w.grad = None
        y = x @ w
        y.backward(torch.ones_like(y))

    def forget() -> None:
        w.grad = None

    figures = {peak_bytes(call, forget=forget) for _ in range(3)}
    assert figures == {2 * 10 * 100 * 4 + 100 * 100 * 4}  # y, its gradient, the weight's gradient


def test_backward_runs_in_the_calling_thread():
    seen = []
    x = torch.randn(4, requires_grad=True)
    y = x * 2
    y.register_hook(lambda grad: seen.append(threading.get_ident()))
    y.sum().backward()
    assert seen == [threading.get_ident()]


@pytest.mark.parametrize(("tokens", "mebibytes"), [(784, 28.1), (3136, 450.2)])
def test_unfused_attention_holds_scores_and_probabilities(tokens, mebibytes):
    q = torch.randn(1, 6, tokens, 64)
    found = peak_bytes(lambda: (q @ q.transpose(-1, -2)).softmax(-1) @ q)
    assert found == 2 * 6 * tokens**2 * 4
    assert round(found / MIB, 1) == mebibytes


def test_threads_of_a_kernel_do_not_change_the_peak():
    call = unfused(196)
    threads = torch.get_num_threads()
    try:
        figures = set()
        for count in (1, 2):
            torch.set_num_threads(count)
            figures.add(peak_bytes(call))
    finally:
        torch.set_num_threads(threads)
    assert len(figures) == 1


def test_copies_that_onednn_makes_are_counted():
    layer, x = nn.Conv2d(32, 32, 3, padding=1, stride=2, bias=False), torch.randn(1, 32, 56, 56)
    with torch.no_grad():
        assert peak_bytes(lambda: layer(x)) > layer(x).nbytes


def test_peak_agrees_with_resident_memory():
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    events, resident = map(int, done.stdout.split())
    assert events == pytest.approx(resident, rel=0.05)


def test_a_failing_call_leaves_the_collector_on():
    def call() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        peak_bytes(call)
    assert gc.isenabled()


class FakeCuda:
    """Stands for torch.cuda: an allocator that holds 100 bytes, and 700 while a call runs."""

    def __init__(self, backend: str = "native") -> None:
        self.order: list[str] = []
        self.backend = backend

    def synchronize(self, device: torch.device) -> None:
        self.order.append("synchronize")

    def empty_cache(self) -> None:
        self.order.append("empty cache")

    def get_allocator_backend(self) -> str:
        return self.backend

    def memory_stats(self, device: torch.device) -> dict[str, int]:
        self.order.append("statistics")
        kind = "requested_bytes" if self.backend == "native" else "allocated_bytes"
        whole_blocks = {"allocated_bytes.all.current": 512, "allocated_bytes.all.peak": 2**20}
        reserved = {"reserved_bytes.all.peak": 2048}
        return whole_blocks | reserved | {f"{kind}.all.current": 100, f"{kind}.all.peak": 700}

    def reset_peak_memory_stats(self, device: torch.device) -> None:
        self.order.append("reset")


def test_cuda_peak_is_the_difference_to_what_was_live_after_a_first_call(monkeypatch):
    cuda = FakeCuda()
    monkeypatch.setattr(torch, "cuda", cuda)
    found = peak(lambda: cuda.order.append("call"), device="cuda:0", forget=lambda: cuda.order.append("forget"))
    assert (found.peak_bytes, found.absolute_bytes, found.reserved_bytes) == (600, 700, 2048)
    assert cuda.order == [
        *("call", "forget", "synchronize", "empty cache", "statistics", "reset", "call", "synchronize", "statistics")
    ]


def test_cuda_peak_is_in_blocks_where_the_allocator_does_not_keep_what_was_asked_for(monkeypatch):
    monkeypatch.setattr(torch, "cuda", FakeCuda("cudaMallocAsync"))
    assert peak(lambda: None, device="cuda:0").peak_bytes == 600


def test_a_cpu_has_no_reserved_memory():
    found = peak(lambda: torch.empty(10), device="cpu")
    assert (found.absolute_bytes, found.reserved_bytes) == (None, None)


def test_saved_of_a_small_module_is_what_its_gradients_need():
    layer, x = nn.Linear(30, 50), torch.randn(20, 30)
    known = [*layer.parameters(), x]
    # The linear layer saves its input and weight, both known; relu saves its result, exp its own.
    assert saved_for_backward(lambda: layer(x).relu().exp(), exclude=known) == 2 * 20 * 50 * 4
    assert saved_for_backward(lambda: layer(x).relu(), exclude=[]) == (20 * 50 + 20 * 30) * 4


def test_saved_counts_a_storage_once_and_in_full():
    x = torch.randn(10, 10, requires_grad=True)

    def call() -> Tensor:
        y = x + 1
        return y[:5] * y[5:]  # saves two halves of one storage

    assert saved_for_backward(call, exclude=[x]) == 400


def test_saved_leaves_out_views_of_parameters():
    w = nn.Parameter(torch.randn(10, 10))
    x = torch.randn(5, 5, requires_grad=True)
    assert saved_for_backward(lambda: x * w[:5, 5:], exclude=[w, x]) == 0


def test_without_gradients_nothing_is_saved():
    with torch.no_grad():
        assert saved_for_backward(unfused(16, grad=True)) == 0


def test_fused_attention_saves_its_output_and_one_number_per_row():
    tokens, known = 3136, [torch.randn(1, 6, 3136, 64, requires_grad=True) for _ in range(3)]
    found = saved_for_backward(lambda: F.scaled_dot_product_attention(*known), exclude=known)
    assert found == (6 * tokens * 64 + 6 * tokens) * 4
    assert round(found / MIB, 2) == 4.67


def test_unfused_attention_saves_its_probabilities():
    q, k, v = known = [torch.randn(1, 6, 3136, 64, requires_grad=True) for _ in range(3)]
    found = saved_for_backward(lambda: (q @ k.transpose(-1, -2)).softmax(-1) @ v, exclude=known)
    assert round(found / MIB, 2) == 225.09


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("memory"), False),
    ],
)
def test_lack_of_memory_is_known_by_whatever_name(error: Exception, short: bool) -> None:
    assert ran_out(error) is short
