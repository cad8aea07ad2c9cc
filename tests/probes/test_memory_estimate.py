"""MemoryEstimate memory against the same call measured."""

import resource

import pytest
import timm
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from attnbench.probes.memory import peak
from attnbench.probes.memory_estimate import NoEstimateError, estimate
from attnbench.record import Mode


class Attention(nn.Module):
    """Self-attention with projections."""

    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.qkv = nn.Linear(96, 288)
        self.out = nn.Linear(96, 96)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 3, 32)).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = (q * 32**-0.5 @ k.transpose(-1, -2)).softmax(-1) @ v
        return self.out(y.transpose(1, 2).flatten(2))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(64, 32, 1),
    )


def depthwise() -> nn.Module:
    return nn.Sequential(*(nn.Conv2d(48, 48, 5, padding=2, groups=48) for _ in range(3)))


BUILDS = {
    "unfused attention": lambda: (Attention(fused=False), (torch.randn(2, 784, 96),)),
    "fused attention": lambda: (Attention(fused=True), (torch.randn(2, 784, 96),)),
    "convolutions": lambda: (convolutions(), (torch.randn(2, 3, 128, 128),)),
    "depthwise convolutions": lambda: (depthwise(), (torch.randn(2, 48, 56, 56),)),
    "channels last": lambda: (depthwise(), (torch.randn(2, 56, 56, 48).permute(0, 3, 1, 2),)),
    "vit": lambda: (timm.create_model("vit_tiny_patch16_224", img_size=64, depth=3), (torch.randn(2, 3, 64, 64),)),
    "resnet": lambda: (timm.create_model("resnet18"), (torch.randn(1, 3, 96, 96),)),
    "swin": lambda: (
        timm.create_model("swin_tiny_patch4_window7_224", depths=(2, 2, 1, 1)),
        (torch.randn(1, 3, 224, 224),),
    ),
}


def measured(build, mode) -> int:
    model, inputs = build()
    model.train(mode is Mode.TRAIN)

    def call() -> Tensor:
        with torch.set_grad_enabled(mode is Mode.TRAIN):
            y = model(*inputs)
        if mode is Mode.TRAIN:
            y.backward(torch.ones_like(y))
        return y

    return peak(call, device="cpu", forget=lambda: model.zero_grad(set_to_none=True)).peak_bytes


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", ["unfused attention", "resnet", "swin"])
def test_the_peak_is_estimated_to_a_hundredth_where_kernels_take_little_for_themselves(name, mode):
    estimated = estimate(BUILDS[name], mode=mode, device="cpu")
    assert estimated.peak_bytes == pytest.approx(measured(BUILDS[name], mode), rel=0.01)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", BUILDS)
def test_what_would_fit_is_never_estimated_not_to(name, mode):
    estimated = estimate(BUILDS[name], mode=mode, device="cpu")
    assert 0 < estimated.peak_bytes <= 1.001 * measured(BUILDS[name], mode)


def test_parameters_and_inputs_are_counted_once_each():
    model, (x,) = BUILDS["vit"]()
    estimated = estimate(BUILDS["vit"], mode=Mode.INFER, device="cpu")
    assert estimated.parameters_bytes == sum(each.nbytes for each in model.parameters())
    assert estimated.inputs_bytes == x.nbytes
    assert estimated.total_bytes == estimated.parameters_bytes + estimated.inputs_bytes + estimated.peak_bytes


def test_a_tied_weight_is_counted_once():
    def build():
        first, second = nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)
        second.weight = first.weight
        return nn.Sequential(first, second), (torch.randn(1, 64),)

    assert estimate(build, mode=Mode.INFER, device="cpu").parameters_bytes == 64 * 64 * 4


def test_terabytes_are_estimated_without_taking_them():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    side = 2**20
    estimated = estimate(
        lambda: (nn.Linear(side, side, bias=False), (torch.randn(side, side),)), mode=Mode.TRAIN, device="cpu"
    )
    assert estimated.parameters_bytes == estimated.inputs_bytes == 4 * side**2
    assert estimated.peak_bytes == 3 * 4 * side**2  # output, its gradient, the weight's gradient
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_unfused_attention_is_estimated_to_grow_with_the_square_of_its_tokens():
    def build(tokens: int):
        return lambda: (Attention(fused=False), (torch.randn(1, tokens, 96),))

    small, large = (estimate(build(n), mode=Mode.INFER, device="cpu").peak_bytes for n in (2**14, 2**16))
    assert large / small == pytest.approx(16, rel=0.05)


def test_what_depends_on_values_is_refused_with_the_operator():
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(NoEstimateError, match=r"without data.*_local_scalar_dense"):
        estimate(lambda: (Branch(), (torch.randn(3),)), mode=Mode.INFER, device="cpu")


def test_a_kernel_that_is_handed_addresses_is_refused_rather_than_failed():
    class Foreign(nn.Module):  # what a kernel of Triton's or of an extension does to its tensors
        def forward(self, x: Tensor) -> Tensor:
            if x.data_ptr() == 0:
                raise ValueError("Pointer argument cannot be accessed")
            return x + 1

    with pytest.raises(NoEstimateError, match="without data"):
        estimate(lambda: (Foreign(), (torch.randn(3),)), mode=Mode.INFER, device="cpu")


def test_a_gpu_is_in_use_before_tensors_claim_to_be_on_it(monkeypatch):
    started, empty = [], torch.empty

    def no_gpu(*size, device=None, **options):
        if device == torch.device("cuda:0"):
            started.append(device)
            device = "cpu"
        return empty(*size, device=device, **options)

    monkeypatch.setattr(torch, "empty", no_gpu)
    estimated = estimate(lambda: (nn.ReLU(), (torch.randn(300),)), mode=Mode.INFER, device="cuda:0")
    assert started == [torch.device("cuda:0")]
    assert estimated.peak_bytes == 3 * 512  # 1200 bytes in whole blocks


def test_a_module_that_reads_numbers_while_it_is_built_is_estimated():
    class Rates(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rates = [rate.item() for rate in torch.linspace(0, 1, 3)]
            self.mask = torch.ones(8)  # neither parameter nor buffer

        def forward(self, x: Tensor) -> Tensor:
            return x * self.rates[1] * self.mask

    assert estimate(lambda: (Rates(), (torch.randn(8),)), mode=Mode.INFER, device="cpu").peak_bytes == 64


def test_estimating_twice_gives_the_same():
    first, second = (estimate(BUILDS["vit"], mode=Mode.TRAIN, device="cpu") for _ in range(2))
    assert first == second
