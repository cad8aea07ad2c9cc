"""Layers of others, named as they are: each is a right row, or a message with a line that was tried and makes one."""

import re
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from attnbench import adapt
from attnbench.compare.lockstep import as_known_here
from attnbench.errors import PluginError, UsageError
from attnbench.mechanism import Mechanism, Site
from attnbench.models import subject
from attnbench.plugins import options
from attnbench.plugins.adapted import Adapted
from attnbench.plugins.registry import from_module
from attnbench.record import Cell, Scope, Value
from attnbench.worker.counts import count

SITE = Site(height=14, width=14, dim=96, heads=3)
MAP = {"BHWC": (1, 14, 14, 96), "BNC": (1, 196, 96), "BCHW": (1, 96, 14, 14)}

# What is named, the layout that it takes, and what its authors would build it with for such a map.
AS_THEY_ARE: list[tuple[str, str, dict[str, Any]]] = [
    ("timm.layers.attention:Attention", "BNC", {"dim": 96, "num_heads": 3}),
    ("timm.layers.attention2d:Attention2d", "BCHW", {"dim": 96, "num_heads": 3}),
    ("timm.layers.attention2d:MultiQueryAttention2d", "BCHW", {"dim": 96, "num_heads": 3}),
    ("timm.layers.attention2d:MultiQueryAttentionV2", "BCHW", {"dim": 96, "num_heads": 3}),
    ("timm.layers.bottleneck_attn:BottleneckAttn", "BCHW", {"dim": 96, "num_heads": 3, "feat_size": (14, 14)}),
    ("timm.layers.cbam:CbamModule", "BCHW", {"channels": 96}),
    ("timm.layers.coord_attn:CoordAttn", "BCHW", {"channels": 96}),
    ("timm.layers.diff_attention:DiffAttention", "BNC", {"dim": 96, "num_heads": 3}),
    ("timm.layers.eca:EcaModule:layout=BCHW", "BCHW", {}),
    ("timm.layers.halo_attn:HaloAttn:block_size=7", "BCHW", {"dim": 96, "num_heads": 3, "block_size": 7}),
    ("timm.layers.lambda_layer:LambdaLayer", "BCHW", {"dim": 96, "num_heads": 3, "dim_head": 32}),
    ("timm.layers.non_local_attn:BatNonLocalAttn", "BCHW", {"in_channels": 96}),
    ("timm.layers.non_local_attn:NonLocalAttn", "BCHW", {"in_channels": 96}),
    ("timm.layers.split_attn:SplitAttn", "BCHW", {"in_channels": 96}),
    ("timm.models.beit:Attention", "BNC", {"dim": 96, "num_heads": 3}),
    ("timm.models.cait:TalkingHeadAttn", "BNC", {"dim": 96, "num_heads": 3}),
    ("timm.models.convit:GPSA", "BNC", {"dim": 96, "num_heads": 3}),
    ("timm.models.davit:ChannelAttention", "BNC", {"dim": 96, "num_heads": 3}),
    ("timm.models.edgenext:CrossCovarianceAttn", "BNC", {"dim": 96, "num_heads": 3}),
    ("timm.models.efficientformer:Attention", "BNC", {"dim": 96, "num_heads": 3, "resolution": 14}),
    ("timm.models.efficientformer_v2:Attention2d", "BCHW", {"dim": 96, "num_heads": 3, "resolution": 14}),
    ("timm.models.eva:EvaAttention:scale_norm=off", "BNC", {"dim": 96, "num_heads": 3, "scale_norm": False}),
    ("timm.models.fastvit:Attention", "BCHW", {"dim": 96}),
    ("timm.models.focalnet:FocalModulation:focal_window=3:focal_level=2", "BCHW",
     {"dim": 96, "focal_window": 3, "focal_level": 2}),
    ("timm.models.hiera:MaskUnitAttention", "BNC", {"dim": 96, "dim_out": 96, "heads": 3}),
    ("timm.models.hieradet_sam2:MultiScaleAttention", "BHWC", {"dim": 96, "dim_out": 96, "num_heads": 3}),
    ("timm.models.levit:Attention:key_dim=16", "BNC", {"dim": 96, "num_heads": 3, "resolution": 14, "key_dim": 16}),
    ("timm.models.lowformer:ConvAttention", "BCHW", {"input_dim": 96}),
    ("timm.models.maxxvit:Attention2d", "BCHW", {"dim": 96}),
    ("timm.models.metaformer:Attention", "BNC", {"dim": 96}),
    ("timm.models.mobilevit:LinearSelfAttention", "BCHW", {"embed_dim": 96}),
    ("timm.models.mvitv2:MultiScaleAttention:has_cls_token=off", "BNC",
     {"dim": 96, "dim_out": 96, "num_heads": 3, "feat_size": (14, 14), "has_cls_token": False}),
    ("timm.models.nextvit:EfficientAttention", "BNC", {"dim": 96}),
    ("timm.models.pvt_v2:Attention:sr_ratio=2", "BNC", {"dim": 96, "num_heads": 3, "sr_ratio": 2}),
    ("timm.models.shvit:SHSA:qk_dim=16:pdim=32", "BCHW", {"dim": 96, "qk_dim": 16, "pdim": 32}),
    ("timm.models.twins:LocallyGroupedAttn:ws=7", "BNC", {"dim": 96, "num_heads": 3, "ws": 7}),
    ("timm.models.visformer:Attention", "BCHW", {"dim": 96, "num_heads": 3}),
    ("timm.models.vision_transformer_sam:Attention", "BHWC", {"dim": 96, "num_heads": 3}),
    ("timm.models.volo:OutlookAttention", "BHWC", {"dim": 96, "num_heads": 3}),
    ("timm.models.xcit:XCA", "BNC", {"dim": 96, "num_heads": 3}),
]  # fmt: skip
SIZED = {
    "timm.models.pvt_v2:Attention",
    "timm.models.mvitv2:MultiScaleAttention",
    "timm.models.twins:LocallyGroupedAttn",
}
"""Their ``forward`` asks for the size of the map."""
ELEMENTWISE = {
    "timm.layers.cbam:CbamModule",
    "timm.layers.split_attn:SplitAttn",
    "timm.models.convit:GPSA",
    "timm.models.focalnet:FocalModulation",
    "timm.models.mobilevit:LinearSelfAttention",
}
"""Of products that are written elementwise and summed then, which torch's own counter does not see."""


def named(spec: str) -> tuple[str, type[Mechanism], dict[str, Value]]:
    name, given = options.split(spec)
    loaded = from_module(*name.split(":")).load()
    return name, loaded, options.resolve(loaded, given)


@pytest.mark.parametrize(("spec", "layout", "built_with"), AS_THEY_ARE, ids=[spec for spec, *_ in AS_THEY_ARE])
def test_a_layer_is_built_called_and_counted_as_by_hand(spec: str, layout: str, built_with: dict[str, Any]) -> None:
    name, mechanism, chosen = named(spec)
    assert mechanism.why_unsupported(SITE, **chosen) is None
    module, _, attribute = name.partition(":")
    with torch.device("meta"):
        layer, alone = mechanism(SITE, **chosen), getattr(import_module(module), attribute)(**built_with)
        x = torch.zeros(MAP[layout])
    assert isinstance(layer, Adapted)
    assert layer.layout == layout
    assert _shapes(layer.layer) == _shapes(alone)
    alone.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        y = alone(x, (14, 14)) if name in SIZED else alone(x)
    assert (y[0] if isinstance(y, tuple) else y).shape == x.shape
    found, by_torch = count(subject.of(cell_of(name, chosen)))["macs_torch"], counter.get_total_flops() // 2
    assert isinstance(found, int)
    assert found > by_torch if name in ELEMENTWISE else found == by_torch


def cell_of(name: str, chosen: dict[str, Value]) -> Cell:
    return Cell(
        mechanism=name, scope=Scope.LAYER, height=224, width=224, stage=3, dim=96, heads=3, depth=1, options=chosen
    )


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in model.named_parameters()}


# What cannot be built as it is, what is said of it, and whether the line that is shown goes behind the name.
LED_ON: list[tuple[str, str, bool]] = [
    ("timm.layers.halo_attn:HaloAttn", r"AssertionError, at `_assert\(H % self.block_size == 0, ''\)`", True),
    ("timm.layers.non_local_attn:BilinearAttnTransform", "option 'groups' has no default", True),
    ("timm.models.davit:WindowAttention", "option 'window_size' has no default", True),
    ("timm.models.gcvit:WindowAttentionGlobal", "option 'window_size' has no default", True),
    ("timm.models.swin_transformer:WindowAttention", "must match the size of tensor b \\(49\\)", True),
    ("timm.models.swin_transformer_v2:WindowAttention", "option 'window_size' has no default", True),
    ("timm.models.swin_transformer_v2_cr:WindowMultiHeadAttention", "option 'window_size' has no default", True),
    ("timm.models.efficientvit_msra:CascadedGroupAttention", "option 'key_dim' has no default", False),
    ("timm.models.eva:EvaAttention", "norm_layer must be provided if qk_norm or scale_norm is True", True),
    ("timm.models.focalnet:FocalModulation", "option 'focal_window' has no default", True),
    ("timm.models.levit:Attention", "option 'key_dim' has no default", False),
    ("timm.models.maxxvit:PartitionAttentionCl", r"at `self.window_area = window_size\[0\] \*", False),
    ("timm.models.mvitv2:MultiScaleAttention", "is that a class token", True),
    ("timm.models.senet:SEModule", "option 'reduction' has no default", True),
    ("timm.models.shvit:SHSA", "option 'pdim' has no default", False),
    ("timm.models.swiftformer:EfficientAdditiveAttention", "in no layout", False),
    ("timm.models.tiny_vit:Attention", "option 'key_dim' has no default", False),
    ("timm.models.twins:LocallyGroupedAttn", "AssertionError, at `assert ws != 1`", True),
]


@pytest.mark.parametrize(("name", "said", "is_option"), LED_ON, ids=[name for name, *_ in LED_ON])
def test_a_layer_that_cannot_be_built_as_it_is_is_shown_a_line_that_works(
    name: str, said: str, is_option: bool
) -> None:
    message = refusal_of(name)
    assert re.search(said, message)
    line = message.rpartition("; this works at 14x14 tokens: ")[2]
    if is_option:
        _, mechanism, chosen = named(line)
    else:
        module = import_module(name.partition(":")[0])
        mechanism, chosen = eval(line.removeprefix("Mine = "), vars(module) | {"adapt": adapt}), {}
    assert mechanism.why_unsupported(SITE, **chosen) is None


def refusal_of(name: str) -> str:
    """Return what a user reads of a layer that is named without an option."""
    try:
        _, mechanism, chosen = named(name)
        return str(mechanism.why_unsupported(SITE, **chosen))
    except UsageError as error:
        return "\n".join(error.mistakes)
    except PluginError as error:
        return str(error)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm.models.cait:ClassAttn", "one token comes back for all of them, as of a class attention: .* --networks"),
        ("timm.models.maxxvit:AttentionCl", "laid out as BHWC and as BNC; .* write timm.*AttentionCl:layout=BNC"),
        ("timm.models.gemma4_vit:Gemma4Attention", "needs rope_cos, rope_sin beside the map; write a module whose"),
        ("timm.models.efficientformer_v2:Attention2dDownsample", r"\(1, 96, 7, 7\) for \(1, 96, 14, 14\)"),
        ("timm.layers.selective_kernel:SelectiveKernelAttn", r"at `_assert\(x.shape\[1\] == self.num_paths, ''\)`"),
        ("timm.models.coat:FactorAttnConvRelPosEnc", r"not callable, at `crpe = self.crpe\(q, v, size=size\)"),
    ],
)
def test_what_no_map_goes_through_is_told_why(name: str, said: str) -> None:
    assert re.search(said, refusal_of(name))


# Small layers, one for each kind of thing that made a layer unusable as it is.


class EvalReturnsNothing(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        _, _, _ = x.shape
        return self.linear(x)


class NeedsItsSize(nn.Module):
    """Its size is None by default, and it does not run without."""

    def __init__(self, channels: int, feat_size: tuple[int, int] | None = None, dim_out: int | None = None) -> None:
        super().__init__()
        assert feat_size is not None
        self.bias, self.more = nn.Parameter(torch.zeros(channels, *feat_size)), dim_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class DoesWithoutItsSize(nn.Module):
    def __init__(self, dim: int, feat_size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.linear, self.size = nn.Linear(dim, dim), feat_size

    def forward(self, x: Tensor) -> Tensor:
        _, _, _ = x.shape
        return self.linear(x)


class TakesOneNumber(nn.Module):
    def __init__(self, in_dims: int, resolution: int = 14) -> None:
        super().__init__()
        self.tokens, self.width = resolution * resolution, in_dims

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _, tokens, width = x.shape
        assert (tokens, width) == (self.tokens, self.width)
        return x.softmax(1), x


class NeedsAFlag(nn.Module):
    def __init__(self, dim: int, strict: bool = True) -> None:
        super().__init__()
        if strict:
            raise ValueError("strict needs more than there is")

    def forward(self, x: Tensor) -> Tensor:
        _, _, _ = x.shape
        return x


class NeedsANumber(nn.Module):
    def __init__(self, dim: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Bare(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 5:
            raise AssertionError
        return x


class TokensFirst(nn.Module):
    """Takes (N, B, C), as ``nn.MultiheadAttention`` does by default: with one image (B, N, C) passes too, wrongly."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x)[0]


class OfAWindow(nn.Module):
    """Takes windows of 2x2 as images of their own."""

    def __init__(self, dim: int, window_size: tuple[int, int]) -> None:
        super().__init__()
        self.mix, self.tokens = nn.Linear(window_size[0] * window_size[1], 4), window_size

    def forward(self, x: Tensor) -> Tensor:
        _, _, _ = x.shape
        return self.mix(x.transpose(1, 2)).transpose(1, 2)


TINY = Site(height=4, width=4, dim=8, heads=2)


def test_a_layer_whose_eval_returns_nothing_is_called_all_the_same() -> None:
    assert adapt(EvalReturnsNothing)(TINY)(torch.zeros(1, 4, 4, 8)).shape == (1, 4, 4, 8)


def test_a_size_that_defaults_to_none_is_given_where_a_layer_does_not_run_without_and_is_noted() -> None:
    mechanism = adapt(NeedsItsSize)
    assert mechanism.why_unsupported(TINY) is None
    layer = mechanism(TINY)
    assert (layer.layer.bias.shape, layer.layer.more) == ((8, 4, 4), None)
    note = mechanism.adaptation(TINY)
    assert note is not None
    assert "called with BCHW" in note
    assert "given the map's size as feat_size, without which it does not run" in note
    assert adapt(DoesWithoutItsSize)(TINY).layer.size is None


def test_a_size_in_one_number_is_that_of_a_square_map_and_of_no_other() -> None:
    mechanism = adapt(TakesOneNumber)
    assert mechanism(TINY).layer.tokens == 16
    reason = mechanism.why_unsupported(Site(height=4, width=6, dim=8, heads=2))
    assert reason == "resolution is one whole number, which a map of 4x6 tokens does not have"
    assert "the first of its 2 outputs is taken" in str(mechanism.adaptation(TINY))


def test_nothing_is_noted_of_a_layer_that_says_itself_how_it_is_called() -> None:
    assert adapt(DoesWithoutItsSize, layout="BNC").adaptation(TINY) is None


def test_a_flag_without_which_it_works_is_shown() -> None:
    reason = adapt(NeedsAFlag).why_unsupported(TINY)
    assert reason == (
        "it raises ValueError: strict needs more than there is; this works at 4x4 tokens: NeedsAFlag:strict=off"
    )


def test_what_has_no_default_is_written_behind_the_name() -> None:
    mechanism = adapt(NeedsANumber)
    assert options.resolve(mechanism, {"groups": "4"}) == {"groups": 4}
    assert mechanism(TINY, groups=4).layer.conv.groups == 4
    with pytest.raises(UsageError, match=r"'groups' has no default; .* works at 14x14 tokens: NeedsANumber:groups=2"):
        options.resolve(mechanism, {})


def test_an_assertion_without_words_is_told_by_its_line() -> None:
    assert "AssertionError, at `raise AssertionError`" in str(adapt(Bare).why_unsupported(TINY))


def test_what_defaults_to_none_is_an_option_that_is_no_part_of_a_cell_until_it_is_set() -> None:
    _, _, chosen = named("timm.layers.attention:Attention")
    assert "attn_head_dim" not in chosen
    _, mechanism, chosen = named("timm.layers.attention:Attention:attn_head_dim=16")
    assert chosen["attn_head_dim"] == 16
    assert mechanism(SITE, **chosen).layer.qkv.out_features == 3 * 3 * 16


def test_two_revisions_are_compared_with_the_options_that_were_set() -> None:
    cell = cell_of("timm.layers.attention:Attention", {"attn_head_dim": 16, "no_longer_there": 1})
    chosen = as_known_here(cell).options
    assert chosen["attn_head_dim"] == 16
    assert chosen["qkv_bias"] is False
    assert not {"no_longer_there", "layout", "dim_out"} & chosen.keys()


def test_layout_and_class_tokens_are_said_behind_the_name() -> None:
    _, mechanism, chosen = named("timm.models.maxxvit:AttentionCl:layout=BHWC")
    assert mechanism(SITE, **chosen).layout == "BHWC"
    _, mechanism, chosen = named("timm.models.mvitv2:MultiScaleAttention:prefix_tokens=1")
    assert mechanism.why_unsupported(SITE, **chosen) is None
    assert mechanism(SITE, **chosen)(torch.zeros(1, 14, 14, 96)).shape == (1, 14, 14, 96)
    with pytest.raises(PluginError, match="layout BNC, not BCHW"):
        mechanism.why_unsupported(SITE, **chosen, layout="BCHW")


def test_a_layer_that_takes_tokens_first_is_not_called_as_if_they_came_second() -> None:
    as_it_is: Any = adapt(TokensFirst)
    reason = as_it_is(TINY).why_no_layer_of_maps(TINY, {})
    assert "the images of a batch see each other; with the tokens first they do not: write :layout=NBC" in reason
    mechanism = adapt(TokensFirst)
    layer, x = mechanism(TINY, layout="NBC"), torch.randn(2, 4, 4, 8)
    alone = layer.layer(x.flatten(1, 2).transpose(0, 1)).transpose(0, 1)
    torch.testing.assert_close(layer(x).flatten(1, 2), alone)


def test_a_layer_that_takes_windows_is_given_those_of_the_map() -> None:
    mechanism = adapt(OfAWindow)
    chosen = options.resolve(mechanism, {"window_size": "2", "windows": "2"})
    layer, x = mechanism(TINY, **chosen), torch.randn(3, 4, 4, 8)
    assert layer.layer.tokens == (2, 2)
    corner = layer.layer(x[:, 2:, :2].flatten(1, 2)).unflatten(1, (2, 2))
    torch.testing.assert_close(layer(x)[:, 2:, :2], corner)
    assert mechanism.adaptation(TINY, **chosen) == (
        "called with BNC, the one layout in which it keeps a map's shape; "
        "the map is cut into windows of 2x2 for it, within the timed call"
    )
    reason = mechanism.why_unsupported(Site(height=5, width=4, dim=8, heads=2), **chosen)
    assert reason == "a map of 5x4 tokens is not made of windows of 2x2"


def test_products_within_windows_are_counted_as_by_hand() -> None:
    name, _, chosen = named("timm.models.swin_transformer:WindowAttention:windows=7")
    found = count(subject.of(cell_of(name, chosen)))
    assert found["macs_torch"] == 4 * 196 * 96**2 + 2 * 196 * 49 * 96


def test_that_all_tokens_are_one_window_to_a_layer_is_noted() -> None:
    _, mechanism, chosen = named("timm.models.davit:WindowAttention:window_size=7")
    assert "all tokens are one window to it" in str(mechanism.adaptation(SITE, **chosen))
    _, mechanism, chosen = named("timm.models.davit:WindowAttention:window_size=14")
    assert "one window" not in str(mechanism.adaptation(SITE, **chosen))
