from collections.abc import Callable
from dataclasses import replace

import pytest
import timm
import torch
from torch import nn

from attnbench.errors import UsageError
from attnbench.models import calls, networks, subject
from attnbench.plan import preflight
from attnbench.plan.preflight import Wanted
from attnbench.record import Cell, Mode, Scope
from attnbench.worker import counts


def cell(network: str, *, height: int = 224, width: int = 224, backend: str = "sdpa", mode: Mode = Mode.INFER) -> Cell:
    return Cell(
        scope=Scope.NETWORK, mechanism="", network=network, options={"backend": backend}, height=height, width=width,
        mode=mode,
    )  # fmt: skip


def test_networks_of_plugins_are_listed_without_importing_them() -> None:
    assert {"hat_net_tiny", "qna_vit_base", "lavit_small"} <= networks.plugins().keys()


def test_an_unknown_network_gets_the_nearest_names() -> None:
    with pytest.raises(UsageError, match="did you mean hat_net_tiny"):
        networks.find("hat_net_tinny")


@pytest.mark.parametrize(
    ("name", "params_m", "gmacs", "attention_gmacs"),
    [
        ("hat_net_tiny", 12.7, 2.128, 2.128 - 1.970),
        ("swin_tiny_patch4_window7_224", 28.3, 4.49, None),
        ("deit_tiny_patch16_224", 5.72, 1.254, 1.254 - 1.075),
    ],
)
def test_a_network_is_counted_as_published(
    name: str, params_m: float, gmacs: float, attention_gmacs: float | None
) -> None:
    found = counts.count(subject.of(cell(name)))
    assert found["params"] == pytest.approx(params_m * 1e6, abs=0.05e6)
    assert found["macs"] == found["macs_torch"] == pytest.approx(gmacs * 1e9, rel=0.005)
    assert found["macs_fvcore"] == pytest.approx(found["macs_torch"], rel=0.01)
    assert found["macs_closed"] is None
    if attention_gmacs is not None:
        assert found["macs_attention"] == pytest.approx(attention_gmacs * 1e9, rel=0.01)


def test_a_network_bound_to_one_size_is_built_anew_for_each() -> None:
    tokens = [
        subject.of(cell("deit_tiny_patch16_224", height=side, width=side)).build().pos_embed.shape[1]
        for side in (224, 448)
    ]
    assert tokens == [1 + 14 * 14, 1 + 28 * 28]


@pytest.mark.parametrize("name", ["caformer_s18", "naflexvit_base_patch16_gap", "ese_vovnet19b_slim", "resnet18"])
def test_what_a_networks_constructor_does_not_take_is_left_out_however_it_says_so(name: str) -> None:
    assert subject.of(cell(name, height=64, width=96)).why_unsupported() is None


def test_registered_networks_are_timms_to_build() -> None:
    names = networks.register()
    assert set(names) == set(networks.plugins()) > {"hat_net_tiny", "qna_vit_base", "lavit_small"}
    assert set(names) <= set(timm.list_models())


def test_an_argument_of_the_users_that_a_network_does_not_take_is_refused() -> None:
    asked = cell("caformer_s18", height=64, width=64)
    refused = subject.of(replace(asked, options={"backend": "sdpa", "windows": 7})).why_unsupported()
    assert refused is not None
    assert "'windows'" in refused
    assert "img_size" not in refused


class Numbers(nn.Module):
    """A network that reads numbers from its tensors, as published code does."""

    def __init__(self, *, rates: torch.Tensor | None = None, masked: bool = False, refusal: str | None = None) -> None:
        super().__init__()
        self.rates = [] if rates is None else [rate.item() for rate in rates]
        self.masked, self.refusal = masked, refusal
        self.head = nn.Conv2d(3, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.refusal is not None:
            raise AssertionError(self.refusal)
        if self.masked:
            return self.head(x)[:, :, : int((x > 0).sum().clamp(1))]
        return self.head(x)


def asked_of(network: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch) -> subject.Subject:
    monkeypatch.setattr(networks, "create", lambda *_, **__: network())
    return subject.NetworkSubject(cell=cell("numbers", height=8, width=8))


def test_whole_numbers_between_slashes_are_an_argument_for_each_stage() -> None:
    deep = cell("swin_tiny_patch4_window7_224")
    shallow = subject.of(replace(deep, options=deep.options | {"depths": "1/1/2/1"})).build()
    assert [len(stage.blocks) for stage in shallow.layers] == [1, 1, 2, 1]
    assert networks.parse_options({"depths": "1/1/2/1", "ratio": "1/2x"}) == {"depths": "1/1/2/1", "ratio": "1/2x"}


def test_a_network_that_reads_numbers_while_it_is_built_is_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asked_of(lambda: Numbers(rates=torch.linspace(0, 0.1, 4)), monkeypatch)
    assert asked.why_unsupported() is None
    assert counts.count(asked)["macs"] == 3 * 5 * 64


def test_a_network_that_reads_numbers_of_its_images_is_left_to_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_of(lambda: Numbers(masked=True), monkeypatch).why_unsupported() is None


@pytest.mark.parametrize(("refusal", "said"), [("an odd side", "an odd side"), ("", "AssertionError")])
def test_a_network_that_refuses_an_image_has_a_reason(monkeypatch: pytest.MonkeyPatch, refusal: str, said: str) -> None:
    asked = asked_of(lambda: Numbers(refusal=refusal), monkeypatch)
    assert asked.why_unsupported() == f"8x8 pixels: {said}"


def test_a_size_that_a_network_cannot_take_is_unsupported_with_its_reason() -> None:
    reason = subject.of(cell("deit_tiny_patch16_224", height=50, width=50)).why_unsupported()
    assert reason is None or reason.startswith("50x50 pixels: ")
    refused = subject.of(cell("coat_tiny", height=51, width=51)).why_unsupported()
    assert refused is not None
    assert refused.startswith("51x51 pixels: ")


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "deit_tiny_patch16_224", "hat_net_tiny"])
def test_fused_attention_is_on_for_all_or_off_for_all(name: str) -> None:
    def fused_calls(backend: str) -> int:
        model = subject.of(cell(name, height=64, width=64, backend=backend)).build().eval()
        with torch.inference_mode(), torch.profiler.profile() as profile:
            model(torch.randn(1, 3, 64, 64))
        return sum(event.count for event in profile.key_averages() if event.key == "aten::scaled_dot_product_attention")

    assert fused_calls("unfused") == 0
    assert fused_calls("sdpa") > 0


def test_the_survey_names_where_a_network_comes_from_and_keeps_its_arguments() -> None:
    ours, timms = Wanted(spec="hat_net_tiny:num_classes=10", network=True), Wanted(spec="resnet18", network=True)
    found = preflight.take([ours, timms])
    assert found.of(ours).distribution.startswith("attnbench ")
    assert found.of(ours).options == {"backend": "sdpa", "num_classes": 10}
    assert found.of(timms).distribution.startswith("timm ")


@pytest.mark.parametrize(
    ("head", "uncounted"),
    [("segmentation", "aten.upsample_bilinear2d"), ("detection", None), ("instance", "torchvision.roi_align")],
)
def test_a_network_under_a_head_is_counted_and_trains(head: str, uncounted: str | None) -> None:
    asked = subject.of(replace(cell("resnet18", height=64, width=96, mode=Mode.TRAIN), head=head))
    assert asked.why_unsupported() is None
    found = counts.count(asked)
    assert found["macs"] == found["macs_torch"] == pytest.approx(found["macs_fvcore"], rel=0.01)
    assert found["uncounted_ops"] == uncounted
    model, x = asked.build(), asked.example()
    calls.call(asked.cell, model, x, forget=calls.forget(model, x))()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("network", "size", "said"),
    [
        ("deit_tiny_patch16_224", (224, 224), ""),
        ("deit_tiny_patch16_224", (224, 320), "built for 224x320 instead of 224x224"),
        ("lavit_tiny", (64, 96), "built for 64x96 instead of 224x224"),
        ("hat_net_tiny", (64, 96), ""),
    ],
)
def test_a_network_that_is_bound_to_its_images_says_what_it_was_built_for(
    network: str, size: tuple[int, int], said: str
) -> None:
    networks.find(network)
    assert subject.of(cell(network, height=size[0], width=size[1])).adaptation() == said


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("resnet18:bogus=1,", "resnet18:bogus=1: takes no argument 'bogus'"),
        ("hat_net_tiny:dense=true,num_classes=5,", ""),
    ],
)
def test_arguments_that_a_network_does_not_take_are_a_mistake_not_a_row(spec: str, said: str) -> None:
    (finding,) = preflight.take([preflight.Wanted(spec=spec.rstrip(",").replace(",", ":"), network=True)]).findings
    assert finding.mistakes == ((said,) if said else ())
    if not said:
        assert finding.options == {"backend": "sdpa", "dense": True, "num_classes": 5}
