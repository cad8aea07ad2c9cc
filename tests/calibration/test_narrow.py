"""Narrow networks read what proxies show, and the table of what is published holds together."""

from collections import Counter

import pytest
import torch
from torch import nn

from attnbench.accuracy.data.splits import Dataset, Pixels
from attnbench.accuracy.tasks import maps
from attnbench.accuracy.tasks.table import TASKS
from attnbench.calibration.narrow import ImageReader, TokenReader
from attnbench.calibration.published import NETWORKS

SHIFT = TASKS["shift"]


def grey(side):
    split = Pixels(torch.rand(2, 1, side, side), torch.tensor([0, 1]))
    return Dataset(
        name="grey", train=split, held_out=split, classes=10, channels=1, height=side, width=side, batch=2, epochs=1
    )


def test_there_are_several_networks_of_each_of_several_families():
    families = Counter(row.family for row in NETWORKS.values())
    assert len(families) >= 3
    assert min(families.values()) >= 2
    assert len(NETWORKS) >= 8
    assert len({row.top1 for row in NETWORKS.values()}) == len(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_narrow_and_answers_for_images_and_for_tokens(name):
    row = NETWORKS[name]
    images = ImageReader(row, grey(28))
    assert images(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    parameters = sum(each.numel() for each in images.parameters())
    assert parameters < row.parameters_million * 1e6 / 16
    tokens = TokenReader(row, SHIFT)
    assert tokens(torch.rand(2, SHIFT.height, SHIFT.width, maps.channels(SHIFT))).shape == (2, 6, 24, SHIFT.symbols)


@pytest.mark.parametrize(("side", "times", "frame"), [(8, 4, 0), (28, 1, 2), (40, 1, 0)])
def test_images_are_enlarged_by_a_whole_number_and_framed(side, times, frame):
    reader = ImageReader(NETWORKS["resnet18"], grey(side))
    reader.network = nn.Identity()
    image = torch.rand(1, 1, side, side)
    shown = reader(image)
    assert shown.shape[-1] == max(32, side)
    inner = shown[..., frame : shown.shape[-2] - frame, frame : shown.shape[-1] - frame]
    assert torch.equal(inner[..., ::times, ::times], image)
    assert shown.sum() == pytest.approx((times**2 * image.sum()).item(), rel=1e-5)


class Pooled(nn.Module):
    """A network whose last map has a cell for 2 x 2 tokens, with all their channels in the order of reading."""

    num_features = 0

    def forward_features(self, images):
        corners = images[:, :, 4::8, 4::8]
        return nn.functional.pixel_unshuffle(corners, 2)


def test_each_cell_answers_for_the_tokens_that_it_covers():
    reader = TokenReader(NETWORKS["resnet18"], SHIFT)
    reader.network, reader.covered, reader.norm = Pooled(), 2, nn.Identity()
    channels = maps.channels(SHIFT)
    reader.head = nn.Linear(4 * channels, 4 * SHIFT.symbols, bias=False)
    with torch.no_grad():  # each token says its own first channels
        reader.head.weight.zero_()
        for place in range(4):
            for symbol in range(SHIFT.symbols):
                reader.head.weight[place * SHIFT.symbols + symbol, symbol * 4 + place] = 1.0
    x = torch.rand(2, SHIFT.height, SHIFT.width, channels)
    assert torch.equal(reader(x), x[..., : SHIFT.symbols])
