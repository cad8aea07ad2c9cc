"""Block and grid attention against its definition and timm's layers and network, and for what it costs."""

from functools import partial

import pytest
import timm
import torch
from layer_checks import (
    FLOAT32_BYTES,
    assert_closed_form,
    assert_compiles_into_one_graph,
    assert_exports,
    assert_half_precision_is_near,
    assert_heads_must_divide,
    assert_images_do_not_see_each_other,
    assert_output_and_gradients,
    assert_refused,
    assert_same_with_its_weights,
    bytes_saved_for_backward,
    influence_on,
    random_layer_and_map,
    recorded_forward,
    site_of,
    with_weights_of,
)
from recording import Recording
from timm.models.maxxvit import MaxxVitTransformerCfg, PartitionAttentionCl
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import layer_norm, linear
from torch.utils.flop_counter import FlopCounterMode

from mechanisms.maxvit import BlockGridAttention as MaxViT
from mechanisms.maxvit.partition import blocks, grids, kinds

BACKENDS = ["sdpa", "unfused"]
BLOCK, GRID = 0, 1
KINDS = pytest.mark.parametrize("index", [BLOCK, GRID], ids=["block", "grid"])
MAPS = {
    "whole groups": (6, 9),
    "odd": (7, 5),
    "odd on one side": (6, 5),
    "wide and odd": (4, 10),
    "smaller than the window": (2, 2),
    "smaller on one side": (2, 8),
    "as large as the window": (3, 3),
    "one token": (1, 1),
}
WINDOW = 3
layer_and_map = partial(random_layer_and_map, MaxViT, std=0.5, window=WINDOW)


def place_by_definition(token, length, window, index):
    """Which group along a side a token of the map padded to whole groups falls in, and where in it."""
    groups = -(-length // window)
    return (token // window, token % window) if index % 2 == BLOCK else (token % groups, token // groups)


def by_definition(layer, x, window):
    """Token by token: which others its group holds, at what offsets; what pads the map is left out."""
    site = layer.site
    y = layer_norm(x, (site.dim,), layer.norm.weight, layer.norm.bias, 1e-5)
    q, k, v = linear(y, layer.qkv.weight, layer.qkv.bias).unflatten(-1, (3, site.heads, site.head_dim)).unbind(3)
    places = {
        (i, j): (
            place_by_definition(i, site.height, window, site.layer),
            place_by_definition(j, site.width, window, site.layer),
        )
        for i in range(site.height)
        for j in range(site.width)
    }
    rows = []
    for (i, j), ((group_down, down), (group_across, across)) in places.items():
        scores, values = [], []
        for (row, column), ((key_group_down, p), (key_group_across, r)) in places.items():
            if (group_down, group_across) == (key_group_down, key_group_across):
                bias = layer.table[:, down - p + window - 1, across - r + window - 1]
                scores.append((q[:, i, j] * k[:, row, column]).sum(-1) / site.head_dim**0.5 + bias)
                values.append(v[:, row, column])
        weights = torch.stack(scores).softmax(0)
        rows.append((weights[..., None] * torch.stack(values)).sum(0).flatten(1))
    return linear(torch.stack(rows, 1), layer.proj.weight, layer.proj.bias).view(x.shape)


@pytest.mark.parametrize("backend", BACKENDS)
@KINDS
@pytest.mark.parametrize("size", MAPS.values(), ids=MAPS)
def test_output_and_gradients_are_those_of_the_definition(size, index, backend):
    layer, x = layer_and_map(site_of(*size, index), backend=backend)
    assert_output_and_gradients(layer, x, by_definition(layer, x, WINDOW))


@KINDS
@pytest.mark.parametrize("window", [1, 2, 4])
def test_windows_of_other_sizes_follow_the_definition(window, index):
    layer, x = layer_and_map(site_of(5, 7, index), window=window)
    torch.testing.assert_close(layer(x), by_definition(layer, x, window), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
@KINDS
@pytest.mark.parametrize("size", [(14, 14), (7, 7), (7, 21)], ids=str)
def test_output_is_timms_with_the_same_weights(size, index, backend):
    layer, x = layer_and_map(site_of(*size, index), window=7, backend=backend)
    settings = MaxxVitTransformerCfg(dim_head=layer.site.head_dim, head_first=False, window_size=7)
    timms = PartitionAttentionCl(8, ["block", "grid"][index], settings).double()
    with_weights_of(timms.attn, layer, {"qkv": "qkv", "proj": "proj"})
    timms.attn.rel_pos.relative_position_bias_table.data = layer.table.detach().flatten(1).T
    torch.testing.assert_close(layer(x), timms._partition_attn(layer.norm(x)), rtol=1e-11, atol=1e-11)


@KINDS
def test_backends_have_the_same_parameters_and_output(index):
    fused, x = layer_and_map(site_of(7, 5, index), backend="sdpa")
    assert_same_with_its_weights(MaxViT(fused.site, window=WINDOW, backend="unfused"), fused, x)


@KINDS
def test_weights_of_one_map_fit_another(index):
    small, large = (MaxViT(site_of(side, side, index), window=WINDOW) for side in (2, 7))
    large.load_state_dict(small.state_dict())


@KINDS
def test_images_of_a_batch_do_not_see_each_other(index):
    assert_images_do_not_see_each_other(*layer_and_map(site_of(7, 5, index), batch=3))


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


@pytest.mark.parametrize("backend", BACKENDS)
@KINDS
@pytest.mark.parametrize("size", MAPS.values(), ids=MAPS)
def test_closed_form_is_the_machine_count(size, index, backend):
    parts = {"addmm": "projections", "bmm": "attention"}
    assert_closed_form(MaxViT, site_of(*size, index), parts, window=WINDOW, backend=backend)


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


@pytest.mark.parametrize(
    ("site", "options", "said"),
    [
        (site_of(56, 56, GRID, stride=4), {}, None),
        (site_of(7, 7, BLOCK, stride=32), {}, None),
        (site_of(64, 64, BLOCK, stride=4), {}, "blocks as small as 1x1, not 7x7"),
        (site_of(64, 64, GRID, stride=4), {}, "grids as small as 6x6, not 7x7"),
        (site_of(4, 14, GRID), {}, "grids as small as 4x7, not 7x7"),
        (site_of(32, 32, GRID), {"resolution_policy": "scaled"}, "window 7 made 16"),
        (site_of(14, 28, BLOCK), {"resolution_policy": "scaled"}, "window 7 made 7x14"),
        (
            site_of(15, 14, BLOCK),
            {"window": 8, "resolution_policy": "scaled"},
            "window 8 made 9x8, blocks as small as 6x6, not 9x8",
        ),
        (site_of(56, 56, BLOCK, stride=4), {"resolution_policy": "scaled"}, None),
    ],
)
def test_adaptation_says_what_was_done_to_window_and_groups(site, options, said):
    assert MaxViT.adaptation(site, **options) == said


@pytest.mark.parametrize(("pixels", "window"), [(224, 7), (384, 12), (512, 16)])
def test_scaled_windows_are_the_authors(pixels, window):
    """12 at 384 and 16 at 512 pixels, in every stage (google-research/maxvit, eval_ckpt.py)."""
    for stride in (4, 8, 16, 32):
        side = pixels // stride
        assert MaxViT(site_of(side, side, GRID, stride=stride), resolution_policy="scaled").sides == (window, window)


@pytest.mark.parametrize("window", [0, -7])
def test_a_window_that_no_map_could_take_is_an_error(window):
    assert_refused(MaxViT, site_of(7, 7, BLOCK), f"window must be at least 1, got {window}", window=window)


def test_heads_that_do_not_divide_the_channels_are_refused_with_the_reason():
    assert_heads_must_divide(MaxViT, site_of(7, 7, BLOCK), window=7)
    assert MaxViT.why_unsupported(site_of(1, 1, GRID)) is None


# Memory. Narrow heads make the scores (h N P^2) eight times as many as the packed queries, keys and values (3 N C).
SCORES = 4 * 28 * 28 * 49
QKV = 3 * 28 * 28 * 8


def memory_case(index, backend="sdpa"):
    site = site_of(28, 28, index, dim=8, heads=4)
    return layer_and_map(site, batch=1, dtype=torch.float32, window=7, backend=backend)


@KINDS
def test_fused_attention_never_makes_the_scores(index):
    assert recorded_forward(*memory_case(index)).largest == QKV


@KINDS
def test_unfused_attention_makes_the_scores(index):
    assert recorded_forward(*memory_case(index, "unfused")).largest == SCORES


@KINDS
def test_fused_attention_saves_no_scores_for_backward(index):
    assert sum(bytes_saved_for_backward(*memory_case(index))) < FLOAT32_BYTES * SCORES / 2


@KINDS
def test_backward_adds_nothing_token_by_token(index):
    layer, x = memory_case(index)
    out = layer(x).sum()
    with Recording() as recording:
        out.backward()
    assert "index_add_" not in recording.operators
    assert recording.operators["index_select"] == 2


@KINDS
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float64(dtype, backend, index):
    assert_half_precision_is_near(*layer_and_map(site_of(7, 5, index), backend=backend), dtype)


@KINDS
def test_compiles_into_one_graph_forward_and_backward(index):
    assert_compiles_into_one_graph(*layer_and_map(site_of(7, 3, index), dtype=torch.float32))


def test_layers_of_grids_export():
    assert_exports(*layer_and_map(site_of(7, 3, GRID)))
