"""Counts of multiply-adds, against closed forms, published figures and fvcore on a real device."""

import warnings

import pytest
import timm
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from attnbench.probes import flops_torch
from attnbench.probes.flops import Counts, count, explain_difference
from attnbench.probes.flops_fvcore import FlopCountAnalysis, FvcoreCount, count_fvcore, einsum_macs
from attnbench.probes.flops_torch import TorchCount
from attnbench.probes.weightless import build_on_meta, without_data


def counted(model: nn.Module, *shape: int) -> Counts:
    return count(lambda: (model, (torch.empty(shape),)))


def network(name: str, **settings: object) -> Counts:
    def build():
        model = timm.create_model(name, **settings)
        return model, (torch.empty(2, *model.default_cfg["input_size"]),)

    return count(build)


@pytest.mark.parametrize(
    ("tokens", "dim", "heads", "millions"),
    [(196, 384, 6, 145.11), (196, 768, 12, 521.43)],
)
@pytest.mark.parametrize("fused", [True, False])
def test_self_attention_costs_its_closed_form_by_both_counters(tokens, dim, heads, millions, fused):
    layer = Attention(dim, num_heads=heads)
    layer.fused_attn = fused
    found = counted(layer, 1, tokens, dim)
    attention = 2 * tokens**2 * dim
    macs = 4 * tokens * dim**2 + attention
    assert found == Counts(macs_torch=macs, macs_fvcore=macs, macs_attention=attention)
    assert round(found.macs_torch / 1e6, 2) == millions


def test_multihead_attention_of_torch_is_counted_in_evaluation():
    class SelfAttention(nn.MultiheadAttention):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x, x, x, need_weights=False)[0]

    macs, attention = 4 * 196 * 384**2 + 2 * 196**2 * 384, 2 * 196**2 * 384
    found = counted(SelfAttention(384, 6, batch_first=True), 1, 196, 384)
    assert found == Counts(macs_torch=macs, macs_fvcore=macs, macs_attention=attention)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("deit_tiny_patch16_224", 1.254),
        ("deit_small_patch16_224", 4.599),
        ("swin_tiny_patch4_window7_224", 4.49),
        ("resnet50", 4.09),
        ("efficientnet_b0", 0.386),
        ("mobilenetv3_large_100", 0.217),
        ("convnext_tiny", 4.46),
        ("pvt_v2_b0", 0.57),
        ("xcit_nano_12_p16_224", 0.55),
        ("poolformer_s12", 1.82),
        ("mixer_b16_224", 12.6),
    ],
)
def test_networks_cost_what_is_published_and_both_counters_agree(name, published):
    found = network(name)
    assert found.macs_torch / 1e9 == pytest.approx(published, rel=0.01)
    assert found.macs_fvcore == found.macs_torch
    assert (found.remark, found.uncounted) == ("", ())


@pytest.mark.parametrize(("name", "published"), [("deit_tiny_patch16_224", 1.075), ("deit_small_patch16_224", 4.241)])
def test_without_attention_products_deit_costs_what_some_papers_print(name, published):
    found = network(name)
    assert (found.macs_torch - found.macs_attention) / 1e9 == pytest.approx(published, abs=0.0006)


@pytest.mark.parametrize("name", ["resnet50", "convnext_tiny", "mixer_b16_224"])
def test_networks_without_attention_have_no_attention_products(name):
    assert network(name).macs_attention == 0


def test_a_difference_is_explained_by_the_operator_behind_it():
    found = counted(nn.LSTM(16, 16), 1, 5, 16)
    assert found.macs_torch == 5 * 2 * 4 * 16 * 16
    assert found.macs_fvcore == 0
    assert "fvcore does not count aten::lstm" in found.remark


def test_counts_within_a_hundredth_need_no_explanation():
    ours = TorchCount(macs=1000, macs_attention=0, products=400, uncounted=(), output_bytes=0)
    near = FvcoreCount(macs=990, products=390, missed=("aten::lstm",))
    far = FvcoreCount(macs=980, products=380, missed=("aten::lstm",))
    assert explain_difference(ours, near) == ""
    assert explain_difference(ours, far) == (
        "matrix products 400 by torch, 380 by fvcore; fvcore does not count aten::lstm"
    )


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (nn.Conv2d(8, 16, 3, padding=1), 8 * 16 * 9 * 144),
        (nn.Conv2d(8, 16, 3, padding="same", dilation=2), 8 * 16 * 9 * 144),
        (nn.Conv2d(8, 16, 3, padding="valid"), 8 * 16 * 9 * 100),
        (nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=4), 2 * 16 * 9 * 36),
        (nn.Conv2d(8, 8, 5, padding=2, groups=8), 8 * 25 * 144),
        (nn.ConvTranspose2d(8, 16, 2, 2), 8 * 16 * 4 * 144),
    ],
    ids=["plain", "same", "valid", "grouped", "depthwise", "transposed"],
)
def test_convolutions_cost_their_closed_form_by_both_counters(layer, macs):
    found = counted(layer, 1, 8, 12, 12)
    assert (found.macs_torch, found.macs_fvcore, found.macs_attention) == (macs, macs, 0)


def test_a_convolution_over_a_map_without_batch_is_traced():
    class Inner(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x[0])

    found = counted(Inner(8, 16, 1), 1, 8, 4, 4)
    assert found.macs_torch == found.macs_fvcore == 8 * 16 * 16


def test_fvcore_finds_the_same_without_data_as_on_a_real_device():
    model = timm.create_model("resnet18").eval().requires_grad_(requires_grad=False)
    x = torch.randn(1, 3, 64, 64)
    real = FlopCountAnalysis(model, x).unsupported_ops_warnings(enabled=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_operator = real.by_operator()
    expected = by_operator["conv"] + by_operator["linear"]
    assert count_fvcore(without_data(model), (x.to("meta"),)).macs == expected


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("bnd,bmd->bnm", [(2, 3, 5), (2, 7, 5)], 2 * 3 * 7 * 5),
        ("b h n d, b h m d -> b h n m", [(2, 4, 3, 5), (2, 4, 7, 5)], 2 * 4 * 3 * 7 * 5),
        ("...nd,de->...ne", [(2, 4, 3, 5), (5, 6)], 2 * 4 * 3 * 5 * 6),
        ("ij,jk", [(2, 3), (3, 4)], 24),
        ("ij,ij->ij", [(2, 3), (2, 3)], 0),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], 2 * 3 * 4 + 2 * 4 * 5),
        ("ii->i", [(3, 3)], 0),
    ],
)
def test_an_einsum_costs_the_products_that_torch_makes_of_it(equation, shapes, macs):
    class Einsum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum(equation, *(torch.empty(shape, device=x.device) for shape in shapes))

    assert einsum_macs(equation, shapes) == macs
    found = counted(Einsum(), 1)
    assert (found.macs_torch, found.macs_fvcore) == (macs, macs)


class Products(nn.Module):
    """Matrix products of torch's less common kinds, two of them of activations."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        (square,) = x  # (6, 6)
        y = torch.mv(self.weight, square[0]) + torch.addmv(square[0], self.weight, square[1])
        y = y + torch.dot(square[0], square[1])  # activations
        return y + torch.addbmm(square, x, x)  # activations


def test_products_that_torch_has_no_formula_for_are_counted():
    found = counted(Products(), 1, 6, 6)
    assert found.macs_torch == found.macs_fvcore == 36 + 36 + 6 + 216
    assert found.macs_attention == 6 + 216


def test_a_formula_that_torch_has_is_not_replaced(monkeypatch):
    assert torch.ops.aten.mv in flops_torch._formulas()
    monkeypatch.setitem(flops_torch._FORMULAS, torch.ops.aten.mv, lambda *_, **__: 0)
    assert torch.ops.aten.mv not in flops_torch._formulas()


def test_mixing_tokens_by_a_parameter_is_no_attention_product():
    class Mixer(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.transpose(1, 2)).transpose(1, 2)

    assert counted(Mixer(49, 49), 1, 49, 8).macs_attention == 0


def test_an_activation_that_is_written_into_a_buffer_is_still_one():
    class Written(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            room = torch.zeros(1, 4, 8, device=x.device)
            room[:, :2] = x
            return room @ x.transpose(1, 2)

    assert counted(Written(), 1, 2, 8).macs_attention == 4 * 8 * 2


@pytest.mark.parametrize(
    ("call", "operator"),
    [
        (lambda x: F.grid_sample(x, x.new_empty(1, 4, 4, 2), align_corners=False), "aten.grid_sampler_2d"),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), "aten.upsample_bilinear2d"),
        (torch.fft.rfft, "aten._fft_r2c"),
        (lambda x: x.cumsum(-1), "aten.cumsum"),
    ],
    ids=["grid sample", "interpolation", "fourier", "scan"],
)
def test_work_that_nothing_counts_is_named(call, operator):
    class Work(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return call(x)

    found = counted(Work(), 1, 3, 8, 8)
    assert (found.macs_torch, found.uncounted) == (0, (operator,))


def test_elementwise_work_norms_pooling_and_moves_are_not_named():
    model = nn.Sequential(
        nn.BatchNorm2d(8), nn.GELU(), nn.Hardswish(inplace=True), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.PixelShuffle(2),
        nn.Flatten(), nn.LayerNorm(128), nn.Softmax(-1), nn.Dropout(),
    )  # fmt: skip
    assert counted(model, 1, 8, 16, 16) == Counts(macs_torch=0, macs_fvcore=0, macs_attention=0)


def test_the_batch_does_not_change_the_count_of_an_image():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 5))
    assert counted(model, 1, 3, 8, 8) == counted(model, 7, 3, 8, 8)


def test_a_module_of_terabytes_is_counted():
    side = 2**20
    found = count(lambda: (nn.Linear(side, side), (torch.empty(64, side),)))
    assert found.macs_torch == found.macs_fvcore == side**2


def test_a_module_that_no_counter_can_run_has_no_count_and_a_reason():
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum().item() > 0 else -x

    found = counted(Branch(), 1, 3)
    assert (found.macs_torch, found.macs_fvcore, found.macs_attention) == (None, None, None)
    assert "count_torch fails" in found.remark
    assert "count_fvcore fails" in found.remark


def test_a_copy_without_data_leaves_the_module_as_it_is():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    model.note = [torch.ones(3)]
    clone = without_data(model)
    assert {each.device.type for each in [*clone.parameters(), *clone.note]} == {"meta"}
    assert clone[0].weight is clone[1].weight
    assert {each.device.type for each in [*model.parameters(), *model.note]} == {"cpu"}


def test_a_module_is_built_on_the_meta_device_if_it_can_be():
    made: list[Tensor] = []

    def build():
        made.append(torch.empty(2))
        return nn.Identity(), (made[0],)

    build_on_meta(build)
    assert [each.device.type for each in made] == ["meta"]
