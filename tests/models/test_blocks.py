"""What the published networks share is what it stands for: an MLP without gradients, a convolution as a product."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attnbench.models.blocks import MLP
from attnbench.models.patches import Patches


@pytest.mark.parametrize("gelu", ["none", "tanh"])
def test_an_mlp_without_gradients_is_the_mlp_and_holds_one_hidden_map(gelu):
    mlp, x, maps = MLP(6, 4, gelu), torch.randn(2, 3, 5, 6), []
    mlp.fc1.register_forward_hook(lambda module, inputs, output: maps.append(output.data_ptr()))
    mlp.fc2.register_forward_hook(lambda module, inputs, output: maps.append(inputs[0].data_ptr()))
    whole = mlp(x)
    assert maps[0] != maps[1]
    with torch.no_grad():
        torch.testing.assert_close(mlp(x), whole.detach())
    assert maps[2] == maps[3]


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
