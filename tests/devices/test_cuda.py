"""What is asked of torch for a CUDA device, where there is none."""

import pytest
import torch

from attnbench import devices
from attnbench.worker import torch_state


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let CUDA be there, and return what is asked of it in order."""
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: calls.append(f"set {device}"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("empty cache"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (calls.append(f"ask {device}"), 7, 8)[1:])
    return calls


def test_cells_run_on_their_own_device_and_convolutions_are_as_precise_as_products(asked: list[str]) -> None:
    with torch_state.restored():
        for allowed in (False, True):
            torch.backends.cuda.matmul.allow_tf32 = allowed
            devices.of("cuda:1").set_up(threads=1)
            assert torch.backends.cudnn.allow_tf32 is allowed
    assert asked == ["set cuda:1", "set cuda:1"]


def test_what_torch_keeps_of_earlier_cells_counts_as_free(asked: list[str]) -> None:
    assert devices.of("cuda:1").free_bytes() == 7
    assert asked == ["empty cache", "ask cuda:1"]


@pytest.mark.parametrize("lost", [True, False])
def test_a_device_that_cannot_be_waited_for_is_lost(monkeypatch: pytest.MonkeyPatch, lost: bool) -> None:
    def synchronize(_: object) -> None:
        if lost:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    assert devices.of("cuda:0").lost() is lost
