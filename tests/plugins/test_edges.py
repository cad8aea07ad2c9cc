"""Layers at the edges of the contract: shapes not before the first call, blocks of tokens, writing into their input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attnbench.conformance.finding import CheckOutcome
from attnbench.errors import PluginError
from attnbench.mechanism import Mechanism, Site
from attnbench.models import subject
from attnbench.models.backbone import Stack
from attnbench.plugins.adapter import adapt
from attnbench.record import Cell, Scope
from attnbench.testing import check

SITE = Site(height=6, width=6, dim=24, heads=3)


class Attention(nn.Module):
    """Plain attention of the tokens along the last axis but one."""

    def __init__(self, dim: int, lazily: bool = False) -> None:
        super().__init__()
        self.qkv = nn.LazyLinear(3 * dim) if lazily else nn.Linear(dim, 3 * dim)
        self.proj = nn.LazyLinear(dim) if lazily else nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.proj((q @ k.transpose(-2, -1)).softmax(-1) @ v)


class Lazy(Attention):
    """As many write it who do not want to count channels."""

    layout = "BNC"

    def __init__(self, dim: int) -> None:
        super().__init__(dim, lazily=True)


class LazyInAnyLayout(nn.Module):
    """Takes maps of channels first, and does not say so."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.LazyConv2d(dim, 3, padding=1)
        self.norm = nn.LazyBatchNorm2d()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Blocks(Attention):
    """NesT's: a map cut into blocks, (B, blocks, tokens, C)."""

    def forward(self, x: Tensor) -> Tensor:
        B, T, N, C = x.shape  # noqa: N806
        return super().forward(x.reshape(B, T, N, C))


class Global(Attention):
    """Attention of the whole map, which takes it as it is."""

    def forward(self, x: Tensor) -> Tensor:
        B, H, W, C = x.shape  # noqa: N806
        return super().forward(x.reshape(B, H * W, C)).reshape(B, H, W, C)


class Tokenwise(nn.Linear):
    """Mixes nothing."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim)


class Overwrites(nn.Module):
    layout = "BNC"

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        x *= 0.7
        return self.proj(x).softmax(-1) * torch.exp(x)


class OverwritesByAnotherName(Overwrites):
    def forward(self, x: Tensor) -> Tensor:
        y = x
        y += self.proj(x)
        return y


class Sized(nn.Linear):
    """Asks for the size of the map in forward, by a name of timm's."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim)

    def forward(self, x: Tensor, feat_size: tuple[int, int]) -> Tensor:
        height, width = feat_size
        assert x.shape[1] == height * width
        return super().forward(x)


@pytest.mark.parametrize("layer", [Lazy, LazyInAnyLayout])
def test_lazy_modules_have_their_shapes_before_anything_is_asked_of_them(layer: type[nn.Module]) -> None:
    mechanism: Any = adapt(layer)
    built = mechanism(SITE)
    assert all(each.numel() > 0 for each in built.parameters())
    assert built.training
    assert built(torch.zeros(2, 6, 6, 24)).shape == (2, 6, 6, 24)
    torch.manual_seed(0)
    first = mechanism(SITE).state_dict()
    torch.manual_seed(0)
    assert all(torch.equal(each, first[name]) for name, each in mechanism(SITE).state_dict().items())
    found = check(mechanism, checks=("supported", "shape", "state-dict")).findings
    assert {each.outcome for each in found} == {CheckOutcome.PASSED}


def said_of(mechanism: type[Mechanism]) -> tuple[str, str]:
    cell = Cell(mechanism="x", scope=Scope.LAYER, stage=3, dim=SITE.dim, heads=SITE.heads, depth=1, height=96, width=96)
    asked = subject.MechanismSubject(cell=cell, mechanism=mechanism)
    wrong, seen = asked.seen_in_calls(Stack([mechanism(SITE)]))
    assert wrong == asked.seen_in_small()
    return wrong, seen


def test_layers_over_blocks_of_tokens_are_refused_with_the_words_that_measure_them() -> None:
    wrong, _ = said_of(adapt(Blocks))
    assert wrong.startswith("mixes tokens within a row of the map and with no other row")
    assert "write :windows=6:layout=BTNC behind its name" in wrong
    assert 'adapt(..., windows=6, layout="BTNC")' in wrong
    (failed,) = check(adapt(Blocks), checks=("supported",)).failures
    assert "write :windows=7:layout=BTNC behind its name" in failed.found
    assert said_of(adapt(Blocks, layout="BHWC")) == (
        "", "mixes tokens within a row of the map and with no other row"
    )  # fmt: skip
    assert said_of(adapt(Global, layout="BHWC")) == said_of(adapt(Tokenwise, layout="BHWC")) == ("", "")


def test_a_layer_over_blocks_of_tokens_is_given_them_as_nest_has_them() -> None:
    mechanism: Any = adapt(Blocks, windows=3, layout="BTNC")
    layer = mechanism(SITE).eval()
    x = torch.randn(2, 6, 6, 24)
    blocked = x.reshape(2, 2, 3, 2, 3, 24).transpose(2, 3).reshape(2, 4, 9, 24)
    of_blocks = layer.layer(blocked).reshape(2, 2, 2, 3, 3, 24).transpose(2, 3).reshape(2, 6, 6, 24)
    assert torch.equal(layer(x), of_blocks)
    assert mechanism.adaptation(SITE) == "the map is cut into blocks of tokens of 3x3 for it, within the timed call"
    assert "not made of windows of 3x3" in mechanism.why_unsupported(replace(SITE, height=7))
    of_seven = adapt(Blocks, windows=7, layout="BTNC")
    assert check(of_seven, checks=("supported", "shape", "deterministic", "images-apart")).failures == ()
    with pytest.raises(PluginError, match="say how many are along a side, windows=7"):
        adapt(Blocks, layout="BTNC").why_unsupported(SITE)


@pytest.mark.parametrize("layer", [Overwrites, OverwritesByAnotherName])
def test_a_layer_that_overwrites_its_input_is_told_so(layer: type[nn.Module]) -> None:
    (failed,) = check(adapt(layer), checks=("deterministic",)).failures
    assert "a call overwrites the map that it is given" in failed.found


class OverwritesMapsOfChannels(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        x *= 0.7
        return self.proj(x)


def test_writing_into_the_copy_in_a_layers_own_layout_is_found_as_well() -> None:
    (failed,) = check(adapt(OverwritesMapsOfChannels), checks=("deterministic",)).failures
    assert "a call overwrites the map that it is given, in the layout that it takes" in failed.found
    with pytest.raises(PluginError, match="it overwrites the map that it is called with"):
        said_of(adapt(OverwritesMapsOfChannels))


def test_forward_is_given_the_size_of_the_map_by_the_names_that_others_have_for_it() -> None:
    assert adapt(Sized, layout="BNC").why_unsupported(SITE) is None
