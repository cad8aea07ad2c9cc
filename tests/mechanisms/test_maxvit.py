"""Block and grid attention: its groups, whom they reach, the authors' windows, and timm's cost."""

from functools import partial

import pytest
import timm
import torch
from layer_checks import (
    influence_on,
    random_layer_and_map,
    site_of,
)
from recording import Recording
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from attnbench.mechanisms.maxvit import BlockGridAttention as MaxViT
from attnbench.mechanisms.maxvit.partition import blocks, grids, kinds

BLOCK, GRID = 0, 1
KINDS = pytest.mark.parametrize("index", [BLOCK, GRID], ids=["block", "grid"])
WINDOW = 3
layer_and_map = partial(random_layer_and_map, MaxViT, std=0.5, window=WINDOW)


@KINDS
def test_weights_of_one_map_fit_another(index):
    small, large = (MaxViT(site_of(side, side, index), window=WINDOW) for side in (2, 7))
    large.load_state_dict(small.state_dict())


@pytest.mark.parametrize("index", range(4))
def test_layers_alternate_between_neighbours_and_a_comb_over_the_map(index):
    layer, x = layer_and_map(site_of(9, 12, index))
    reached = influence_on(layer, x, 4, 5).any(-1)
    assert reached.sum() == 9
    assert (reached[3:6, 3:6] if index % 2 == BLOCK else reached[1::3, 1::4]).all()


@pytest.mark.parametrize("part", [blocks, grids])
@pytest.mark.parametrize("length", range(1, 30))
def test_every_token_is_in_one_group_of_no_more_than_the_window(length, part):
    (*_, height), (*_, width) = part(length, 7), part(30, 7)
    order = torch.cat([kind.order(30) for kind in kinds(part(length, 7), part(30, 7))])
    assert order.sort().values.tolist() == list(range(length * 30))
    assert 1 <= height.size <= min(length, 7)
    assert width.size == {blocks: 2, grids: 6}[part]


@pytest.mark.parametrize("pixels", [224, 384])
def test_macs_are_those_of_the_attention_in_timms_maxvit_tiny(pixels):
    with torch.device("meta"):
        network = timm.create_model("maxvit_tiny_rw_224", img_size=pixels)
        x = torch.empty(1, 3, pixels, pixels)
    with FlopCounterMode(display=False, depth=9) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        network.eval()(x)
    counted = sum(sum(flops.values()) for name, flops in counter.get_flop_counts().items() if name.endswith(".attn"))
    total = 0
    for stage, (dim, pairs) in enumerate(zip((64, 128, 256, 512), (2, 2, 5, 2), strict=True)):
        side, stride = pixels // (4 << stage), 4 << stage
        for index in range(2 * pairs):
            site = site_of(side, side, index, dim=dim, heads=dim // 32, stride=stride)
            total += MaxViT.macs(site, resolution_policy="scaled").total
    assert total == counted / 2


@pytest.mark.parametrize(("pixels", "window"), [(224, 7), (384, 12), (512, 16)])
def test_scaled_windows_are_the_authors(pixels, window):
    """12 at 384 and 16 at 512 pixels, in every stage (google-research/maxvit, eval_ckpt.py)."""
    for stride in (4, 8, 16, 32):
        side = pixels // stride
        assert MaxViT(site_of(side, side, GRID, stride=stride), resolution_policy="scaled").sides == (window, window)


def memory_case(index, backend="sdpa"):
    site = site_of(28, 28, index, dim=8, heads=4)
    return layer_and_map(site, batch=1, dtype=torch.float32, window=7, backend=backend)


@KINDS
def test_backward_adds_nothing_token_by_token(index):
    layer, x = memory_case(index)
    out = layer(x).sum()
    with Recording() as recording:
        out.backward()
    assert "index_add_" not in recording.operators
    assert recording.operators["index_select"] == 2
