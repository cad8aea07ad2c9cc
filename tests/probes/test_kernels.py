"""Which kernels ran, against what was forced and against torch's own list of them."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from attnbench.models import subject
from attnbench.probes.kernels import KERNELS, attention_kernels
from attnbench.record import Cell, Mode, Scope
from attnbench.worker.memory import measure_memory

UNFUSED = {"backend": "unfused"}


def ran(call: Callable[[], object]) -> set[str]:
    with attention_kernels() as names:
        call()
    return names


def heads(*, grad: bool = False, **place) -> Tensor:
    return torch.randn(1, 2, 64, 64, requires_grad=grad, **place)


def in_steps(q: Tensor) -> Tensor:
    return (q @ q.mT).softmax(-1) @ q


def recorded(mechanism: str, mode: Mode, **options: str) -> object:
    """Return what the record of a layer says."""
    cell = Cell(
        scope=Scope.LAYER,
        mechanism=mechanism,
        options=options,
        mode=mode,
        height=112,
        width=112,
        stage=2,
        dim=32,
        heads=2,
        depth=2,
    )
    asked = subject.of(cell)
    return measure_memory(asked, asked.build(), asked.example())["sdpa_kernels"]


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize(("backend", "name"), [(SDPBackend.FLASH_ATTENTION, "flash"), (SDPBackend.MATH, "math")])
def test_a_forced_backend_is_the_one_that_ran(backend, name, inference, grad):
    q = heads(grad=grad)
    with sdpa_kernel(backend), torch.inference_mode(inference):
        assert ran(lambda: F.scaled_dot_product_attention(q, q, q)) == {name}


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("backend", "name"),
    [
        (SDPBackend.FLASH_ATTENTION, "flash"),
        (SDPBackend.EFFICIENT_ATTENTION, "efficient"),
        (SDPBackend.MATH, "math"),
    ],
)
def test_a_forced_backend_is_the_one_that_ran_on_cuda(backend, name):
    q = heads(device="cuda", dtype=torch.bfloat16)
    with sdpa_kernel(backend):
        assert ran(lambda: F.scaled_dot_product_attention(q, q, q)) == {name}


def test_a_mask_that_learns_is_not_fused_on_a_cpu():
    q, mask = heads(), torch.zeros(64, 64, requires_grad=True)
    assert ran(lambda: F.scaled_dot_product_attention(q, q, q, attn_mask=mask)) == {"math"}
    assert ran(lambda: F.scaled_dot_product_attention(q, q, q, attn_mask=mask.detach())) == {"flash"}


def test_both_are_named_where_layers_differ():
    q, mask = heads(), torch.zeros(64, 64, requires_grad=True)

    def two_layers() -> Tensor:
        y = F.scaled_dot_product_attention(q, q, q)
        return F.scaled_dot_product_attention(y, y, y, attn_mask=mask)

    assert ran(two_layers) == {"flash", "math"}


def test_attention_in_steps_has_no_kernel_of_its_own():
    q = heads()
    assert ran(lambda: in_steps(q)) == set()


def test_a_backward_pass_names_nothing_more():
    q = heads(grad=True)
    assert ran(lambda: F.scaled_dot_product_attention(q, q, q).sum().backward()) == {"flash"}


def test_attention_within_a_library_module_is_seen():
    layer, x = nn.MultiheadAttention(64, 2, batch_first=True), torch.randn(1, 16, 64)
    assert ran(lambda: layer(x, x, x, need_weights=False)) == {"flash"}
    assert ran(lambda: layer(x, x, x, need_weights=True)) == set()


def test_what_raises_is_not_hidden_and_the_next_block_works():
    with pytest.raises(RuntimeError, match="no"), attention_kernels():
        raise RuntimeError("no")
    test_attention_in_steps_has_no_kernel_of_its_own()


def test_every_kernel_that_torch_has_is_known():
    operators = {name.partition(".")[0] for name in torch._C._dispatch_get_all_op_names()}
    forward = {name for name in operators if name.startswith("aten::_scaled_dot_product_")}
    assert forward - {name for name in forward if name.endswith("_backward")} <= set(KERNELS)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    ("mechanism", "options", "expected"),
    [
        ("mhsa", {}, "flash"),
        ("mhsa", UNFUSED, None),
        ("swin", {}, "flash"),  # in training too, where its bias learns: it differentiates the kernel itself
        ("swin", UNFUSED, None),
        ("hmhsa", {}, "flash"),
        ("qna", {}, None),
        ("lavit", {}, None),  # every layer's scores are handed on
    ],
)
def test_a_record_names_the_kernels_of_its_mechanism(mechanism, options, expected, mode):
    assert recorded(mechanism, mode, **options) == expected


def test_a_record_names_what_ran_and_not_what_was_asked_for():
    with sdpa_kernel(SDPBackend.MATH):
        assert recorded("mhsa", Mode.INFER) == "math"
