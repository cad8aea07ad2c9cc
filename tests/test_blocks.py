"""What the published networks share is what it stands for: an MLP in parts, a convolution as a product."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mechanisms import blocks
from mechanisms.blocks import MLP
from mechanisms.patches import Patches


@pytest.mark.parametrize("tokens", [1, 7, 30, 100])
def test_an_mlp_in_parts_is_the_mlp(tokens, monkeypatch):
    mlp, x = MLP(6, 4).double(), torch.randn(2, 3, 5, 6, dtype=torch.float64)
    whole = mlp(x)
    monkeypatch.setattr(blocks, "HIDDEN_AT_A_TIME", 4 * 6 * tokens)
    with torch.no_grad():
        torch.testing.assert_close(mlp(x), whole.detach())


def test_an_mlp_never_holds_a_large_hidden_map_without_gradients(monkeypatch):
    mlp, x, held = MLP(6, 4), torch.randn(2, 3, 5, 6), []
    monkeypatch.setattr(blocks, "HIDDEN_AT_A_TIME", 4 * 6 * 7)
    mlp.act.register_forward_hook(lambda module, inputs, output: held.append(output.numel()))
    with torch.inference_mode():
        mlp(x)
    assert held == [168] * 4 + [48]
    held.clear()
    mlp(x)
    assert held == [720]


def test_touching_patches_are_the_convolution_forwards_and_backwards():
    torch.manual_seed(0)
    patches, conv = Patches(3, 5, 2).double(), nn.Conv2d(3, 5, 2, 2).double()
    conv.load_state_dict(patches.state_dict())
    x = torch.randn(2, 6, 4, 3, dtype=torch.float64, requires_grad=True)
    found, expected = (layer(x.permute(0, 3, 1, 2)) for layer in (patches, conv))
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    grad = torch.randn_like(expected)
    found, expected = (
        torch.autograd.grad(y, [x, *layer.parameters()], grad) for layer, y in ((patches, found), (conv, expected))
    )
    torch.testing.assert_close(found, expected)
