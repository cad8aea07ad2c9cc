from collections.abc import Callable

import pytest
import torch

from attnbench.worker import torch_state


def _set_of_products(name: str, *, on: bool) -> None:
    setattr(torch.backends.cuda.matmul, name, on)


CHANGES: dict[str, Callable[[], object]] = {
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": lambda: torch.set_default_device("meta"),
    "grad mode": lambda: torch.set_grad_enabled(False),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "float32 matmul precision": lambda: torch.set_float32_matmul_precision("high"),
    "cudnn.allow_tf32": lambda: setattr(torch.backends.cudnn.conv, "fp32_precision", "ieee"),
    "sums in float16": lambda: _set_of_products("allow_fp16_reduced_precision_reduction", on=False),
    "sums in bfloat16": lambda: _set_of_products("allow_bf16_reduced_precision_reduction", on=False),
    "accumulation in float16": lambda: _set_of_products("allow_fp16_accumulation", on=True),
    "autocast on the CPU": lambda: torch.set_autocast_enabled("cpu", True),
    "cudnn.benchmark": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "mkldnn.enabled": lambda: setattr(torch.backends.mkldnn, "enabled", False),
    "denormals flushed": lambda: torch.set_flush_denormal(True),
    "flash attention": lambda: torch.backends.cuda.enable_flash_sdp(False),
    "seed": lambda: torch.manual_seed(torch.initial_seed() + 1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_named_and_undone(name: str) -> None:
    with torch_state.restored() as changes:
        CHANGES[name]()
    assert len(changes) == 1
    assert changes[0].startswith(f"{name} from ")
    with torch_state.restored() as changes:
        pass
    assert changes == []


def test_a_change_is_undone_when_an_error_follows() -> None:
    before = torch.get_num_threads()
    changes: list[str] = []

    def careless() -> None:
        nonlocal changes
        with torch_state.restored() as changes:
            torch.set_num_threads(before + 2)
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        careless()
    assert changes == [f"threads from {before} to {before + 2}"]
    assert torch.get_num_threads() == before


def test_random_numbers_go_on_as_if_no_other_seed_had_been_set() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)[2:]
    torch.manual_seed(3)
    torch.rand(2)
    with torch_state.restored():
        torch.manual_seed(4)
    assert torch.equal(torch.rand(2), expected)


def test_drawing_numbers_is_no_change() -> None:
    with torch_state.restored() as changes:
        first = torch.rand(3)
    assert changes == []
    assert not torch.equal(first, torch.rand(3))


def test_a_seed_of_the_harness_stays() -> None:
    with torch_state.restored(seed_included=False) as changes:
        torch.manual_seed(5)
    assert (torch.initial_seed(), changes) == (5, [])
