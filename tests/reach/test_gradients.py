"""Influence by gradients: what is known of simple layers, and of networks of others."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from attnbench.mechanism import Mechanism
from attnbench.mechanisms.mhsa import MHSA
from attnbench.mechanisms.swin import ShiftedWindowAttention
from attnbench.models.backbone import Backbone
from attnbench.models.pyramid import Pyramid
from attnbench.reach.gradients import measure, stages

SMALL = Pyramid(dims=(16, 32), depths=(2, 1), heads=(1, 2), mlp_ratio=2, patch=2)


class Nothing(Mechanism):
    """A layer that adds nothing."""

    def forward(self, x):
        return torch.zeros_like(x)


def backbone(build, side=48):
    torch.manual_seed(0)
    return Backbone(build, height=side, width=side, pyramid=SMALL).eval()


def images(side=48, count=2):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_without_attention_a_stage_sees_its_patch_and_the_convolution_that_tells_it_where_it_is():
    first, second = measure(backbone(Nothing), images())
    # The token in the middle of 24 x 24 is number 12: its pixels are 24 and 25, and those of one token on either side.
    seen = np.argwhere(first.influence.sizes > 0)
    assert (seen.min(), seen.max()) == (22, 27)
    assert (first.influence.stride, second.influence.stride) == (2, 4)
    assert (first.influence.row, first.influence.column) == (25, 25)
    seen = np.argwhere(second.influence.sizes > 0)
    # Number 6 of 12 x 12 with its neighbours, 20 to 31, each of whose tokens sees one further.
    assert (seen.min(), seen.max()) == (18, 33)


def test_one_image_is_the_mean_of_itself_and_images_do_not_see_each_other():
    model, both = backbone(MHSA), images()
    each = [measure(model, both[place : place + 1])[0].influence.sizes for place in range(2)]
    assert np.allclose(measure(model, both)[0].influence.sizes, each[0] + each[1], rtol=1e-5)


def test_the_gradient_is_that_of_differences():
    """Against a central difference of the output, in float64."""
    model, x = backbone(ShiftedWindowAttention).double(), images(count=1).double()
    sizes = measure(model, x)[0].influence.sizes
    for row, column in ((24, 25), (10, 20), (30, 30)):
        total = 0.0
        for channel in range(3):
            moved = []
            for step in (1e-5, -1e-5):
                changed = x.clone()
                changed[0, channel, row, column] += step
                with torch.no_grad():
                    moved.append(stages(model, changed)[0][0, :, 12, 12].sum().item())
            total += abs(moved[0] - moved[1]) / 2e-5
        assert sizes[row, column] == pytest.approx(total, rel=1e-4, abs=1e-9)


def test_windows_end_where_whole_maps_do_not():
    whole, windows = (measure(backbone(each), images())[0].influence for each in (MHSA, ShiftedWindowAttention))
    assert (whole.sizes > 0).all()
    assert (windows.sizes == 0).mean() > 0.3
    assert windows.beyond(48) == 0


@pytest.mark.parametrize(("name", "strides"), [("resnet10t", [2, 4, 8, 16]), ("vit_tiny_patch16_224", [16] * 4)])
def test_networks_of_timm_have_a_field_for_each_stage_or_quarter(name, strides):
    model = timm.create_model(name, img_size=64) if name.startswith("vit") else timm.create_model(name)
    found = measure(model.eval(), images(64, 1))
    assert [each.stage for each in found] == [1, 2, 3, 4]
    assert [each.influence.stride for each in found][-2:] == ([16, 32] if name == "resnet10t" else strides[-2:])
    areas = [each.influence.area_of(0.99) for each in found]
    assert areas[0] < areas[-1] or name.startswith("vit")


def test_a_network_that_ignores_its_image_is_said_to():
    class Deaf(nn.Module):
        def forward_features(self, x):
            return x[:, :, ::8, ::8] * 0

    with pytest.raises(ValueError, match="does not depend on the image"):
        measure(Deaf(), images())
