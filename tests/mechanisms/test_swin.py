"""Shifted-window attention against its definition, timm's and torchvision's layers, and for what it costs."""

from functools import partial

import pytest
import torch
from layer_checks import (
    FLOAT32_BYTES,
    assert_closed_form,
    assert_compiles_into_one_graph,
    assert_half_precision_is_near,
    assert_heads_must_divide,
    assert_images_do_not_see_each_other,
    assert_output_and_gradients,
    assert_refused,
    assert_same_with_its_weights,
    bytes_saved_for_backward,
    gradients,
    influence_on,
    random_layer_and_map,
    recorded_forward,
    site_of,
    with_weights_of,
)
from recording import Recording
from timm.models.swin_transformer import SwinTransformerBlock
from torch.nn.functional import layer_norm, linear, pad
from torchvision.models.swin_transformer import shifted_window_attention

from attnbench.testing import CHECKS, check_mechanism
from mechanisms.swin import ShiftedWindowAttention as Swin
from mechanisms.swin import biased
from mechanisms.swin.windows import WindowSide, arrange

BACKENDS = ["sdpa", "unfused"]
SHIFTS = ["cyclic", "padded", "none"]
PLAIN, SHIFTED = 0, 1
MAPS = {
    "whole windows": (6, 6),
    "wide": (3, 12),
    "odd": (7, 5),
    "wide and odd": (4, 10),
    "smaller than the window": (2, 2),
    "smaller on one side": (2, 8),
    "as large as the window": (3, 3),
    "one token": (1, 1),
}
WINDOW = 3
layer_and_map = partial(random_layer_and_map, Swin, std=0.5, window=WINDOW)


def cut_by_definition(length, window, layer, way):
    """Window, padded length and shift of one side."""
    if length <= window:
        return length, length, 0
    return window, length + (-length) % window, window // 2 if layer % 2 and way != "none" else 0


def place_by_definition(token, padded, window, shift, way):
    """Which window a token of the padded map falls in, where in it, and whether the roll took it across the seam."""
    if way == "padded":  # no roll, and filled places are no keys: the first window of a shifted side is number -1
        return (token - shift) // window, (token - shift) % window, False
    rolled = (token - shift) % padded
    return rolled // window, rolled % window, token < shift


def by_definition(layer, x, window, way="cyclic"):
    """Token by token: its window, its offset to every other token of it, and which end of the map each comes from."""
    site = layer.site
    m, height, shift_down = cut_by_definition(site.height, window, site.layer, way)
    n, width, shift_across = cut_by_definition(site.width, window, site.layer, way)
    y = layer_norm(x, (site.dim,), layer.norm.weight, layer.norm.bias)
    y = pad(y, (0, 0, 0, width - site.width, 0, height - site.height))
    q, k, v = linear(y, layer.qkv.weight, layer.qkv.bias).unflatten(-1, (3, site.heads, site.head_dim)).unbind(3)
    places = {
        (i, j): (
            place_by_definition(i, height, m, shift_down, way),
            place_by_definition(j, width, n, shift_across, way),
        )
        for i in range(height)
        for j in range(width)
    }
    rows = []
    for i, j in ((i, j) for i in range(site.height) for j in range(site.width)):
        (window_down, down, end_down), (window_across, across, end_across) = places[i, j]
        scores, values = [], []
        for (row, column), (
            (key_window_down, p, key_end_down),
            (key_window_across, r, key_end_across),
        ) in places.items():
            if (window_down, window_across) != (key_window_down, key_window_across):
                continue
            bias = layer.table[:, down - p + m - 1, across - r + n - 1]
            apart = (end_down, end_across) != (key_end_down, key_end_across)
            score = (q[:, i, j] * k[:, row, column]).sum(-1) / site.head_dim**0.5 + bias
            scores.append(score - 100.0 if apart else score)
            values.append(v[:, row, column])
        weights = torch.stack(scores).softmax(0)
        rows.append((weights[..., None] * torch.stack(values)).sum(0).flatten(1))
    return linear(torch.stack(rows, 1), layer.proj.weight, layer.proj.bias).view(x.shape)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("layer_index", "shift"),
    [(PLAIN, "cyclic"), (SHIFTED, "cyclic"), (SHIFTED, "padded")],
    ids=["plain", "shifted", "padded"],
)
@pytest.mark.parametrize("size", MAPS.values(), ids=MAPS)
def test_output_and_gradients_are_those_of_the_definition(size, layer_index, shift, backend):
    layer, x = layer_and_map(site_of(*size, layer_index), shift=shift, backend=backend)
    assert_output_and_gradients(layer, x, by_definition(layer, x, WINDOW, shift))


@pytest.mark.parametrize(("layer_index", "shift"), [(PLAIN, "cyclic"), (SHIFTED, "cyclic"), (SHIFTED, "padded")])
@pytest.mark.parametrize("window", [1, 2, 4])
def test_windows_of_other_sizes_follow_the_definition(window, layer_index, shift):
    layer, x = layer_and_map(site_of(5, 7, layer_index), window=window, shift=shift)
    torch.testing.assert_close(layer(x), by_definition(layer, x, window, shift), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(14, 14), (14, 35), (7, 14), (9, 20), (4, 15)], ids=str)
def test_filling_windows_gives_what_the_cyclic_shift_gives(size, backend):
    cyclic, x = layer_and_map(site_of(*size, SHIFTED), window=7, backend=backend)
    padded, _ = layer_and_map(site_of(*size, SHIFTED), window=7, backend=backend, shift="padded")
    out, expected = padded(x), cyclic(x)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients(padded, x, out), gradients(cyclic, x, expected), rtol=1e-10, atol=1e-10)


def test_without_a_shift_every_layer_is_plain():
    plain, x = layer_and_map(site_of(7, 5, PLAIN))
    unshifted, _ = layer_and_map(site_of(7, 5, SHIFTED), shift="none")
    assert torch.equal(unshifted(x), plain(x))


def timms_block(layer, size, window):
    """Timm's block with the layer's weights, and its attention without the norm."""
    site = layer.site
    shift = window // 2 if site.layer % 2 else 0
    block = SwinTransformerBlock(site.dim, size, site.heads, window_size=window, shift_size=shift).double()
    with_weights_of(block.attn, layer, {"qkv": "qkv", "proj": "proj"})
    block.attn.relative_position_bias_table.data = layer.table.detach().flatten(1).T
    return block._attn


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layer_index", [PLAIN, SHIFTED], ids=["plain", "shifted"])
@pytest.mark.parametrize("size", [(14, 14), (7, 7), (5, 5), (7, 21), (4, 14)], ids=str)
def test_output_is_timms_on_whole_windows_with_the_same_weights(size, layer_index, backend):
    layer, x = layer_and_map(site_of(*size, layer_index), window=7, backend=backend)
    layer.qkv.weight.data *= 20  # scores of several hundreds, so that -100 and -inf would differ
    expected = timms_block(layer, size, 7)(layer.norm(x))
    torch.testing.assert_close(layer(x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [(9, 13), (15, 8), (3, 16)], ids=str)
def test_output_of_plain_windows_is_timms_on_a_padded_map(size):
    layer, x = layer_and_map(site_of(*size, PLAIN), window=7)
    torch.testing.assert_close(layer(x), timms_block(layer, size, 7)(layer.norm(x)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [(9, 13), (15, 8), (14, 14)], ids=str)
def test_output_of_shifted_windows_is_torchvisions_on_a_padded_map(size):
    layer, x = layer_and_map(site_of(*size, SHIFTED), window=7)
    expected = shifted_window_attention(
        layer.norm(x),
        layer.qkv.weight,
        layer.proj.weight,
        relative_bias_by_definition(layer.table, 7),
        window_size=[7, 7],
        num_heads=layer.site.heads,
        shift_size=[3, 3],
        qkv_bias=layer.qkv.bias,
        proj_bias=layer.proj.bias,
    )
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


def relative_bias_by_definition(table, window):
    row, column = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    row, column = row.flatten(), column.flatten()
    return table[:, row[:, None] - row + window - 1, column[:, None] - column + window - 1]


def test_backends_have_the_same_parameters_and_output():
    fused, x = layer_and_map(site_of(7, 5, SHIFTED), backend="sdpa")
    assert_same_with_its_weights(Swin(fused.site, window=WINDOW, backend="unfused"), fused, x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_of_a_batch_do_not_see_each_other(backend):
    assert_images_do_not_see_each_other(*layer_and_map(site_of(7, 5, SHIFTED), batch=3, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("layer_index", [PLAIN, SHIFTED])
@pytest.mark.parametrize("size", MAPS.values(), ids=MAPS)
def test_closed_form_is_the_machine_count(size, layer_index, shift, backend):
    options = {"window": WINDOW, "shift": shift, "backend": backend}
    parts = {"addmm": "projections", "bmm": "attention"}
    assert_closed_form(Swin, site_of(*size, layer_index), parts, **options)


def test_macs_are_those_of_the_published_table():
    """14 x 14 tokens, C 768, windows of 7: 477.17 M (a peer's table of one layer)."""
    assert round(Swin.macs(site_of(14, 14, PLAIN, dim=768, heads=12)).total / 1e6, 2) == 477.17


def test_filling_windows_costs_what_the_paper_says():
    """Section 3.2: 2 x 2 windows become 3 x 3, "2.25 times greater"."""
    site = site_of(14, 14, SHIFTED)
    assert Swin.macs(site, shift="padded").total == 2.25 * Swin.macs(site).total
    assert Swin.macs(site_of(14, 14, PLAIN), shift="padded") == Swin.macs(site, shift="none") == Swin.macs(site)


@pytest.mark.parametrize(
    ("site", "options", "said"),
    [
        (site_of(56, 56, SHIFTED, stride=4), {}, None),
        (site_of(7, 7, SHIFTED, stride=32), {}, None),
        (site_of(64, 64, PLAIN, stride=4), {}, "padded 64x64 to 70x70 (window 7)"),
        (site_of(4, 16, PLAIN), {}, "window 7 made 4x7, padded 4x16 to 4x21 (window 4x7)"),
        (site_of(32, 32, PLAIN), {"resolution_policy": "scaled"}, "window 7 made 16"),
        (site_of(14, 28, PLAIN), {"resolution_policy": "scaled"}, "window 7 made 7x14"),
        (site_of(56, 56, PLAIN, stride=4), {"resolution_policy": "scaled"}, None),
        (site_of(56, 56, SHIFTED, stride=4), {"shift": "padded"}, None),
        (site_of(64, 64, SHIFTED, stride=4), {"shift": "padded"}, "padded 64x64 to 70x70 (window 7)"),
    ],
)
def test_adaptation_says_what_was_done_to_window_and_map(site, options, said):
    assert Swin.adaptation(site, **options) == said


@pytest.mark.parametrize(("side", "window"), [(7, 7), (12, 12), (14, 14), (16, 16), (1, 1)])
def test_scaled_window_at_the_last_stage_holds_as_much_of_the_image_as_at_224(side, window):
    layer = Swin(site_of(side, side, PLAIN, stride=32), resolution_policy="scaled")
    assert layer.rows.window == layer.columns.window == window


@pytest.mark.parametrize("window", [0, -7])
def test_a_window_that_no_map_could_take_is_an_error(window):
    assert_refused(Swin, site_of(7, 7, PLAIN), f"window must be at least 1, got {window}", window=window)


def test_heads_that_do_not_divide_the_channels_are_refused_with_the_reason():
    assert_heads_must_divide(Swin, site_of(7, 7, PLAIN), window=7)
    assert Swin.why_unsupported(site_of(1, 1, PLAIN)) is None


def test_a_token_is_reached_from_its_window_alone():
    layer, x = layer_and_map(site_of(9, 9, PLAIN))
    reached = influence_on(layer, x, 4, 4).any(-1)
    assert reached[3:6, 3:6].all()
    assert reached.sum() == 9


def test_a_token_of_a_border_is_reached_from_its_smaller_window_alone():
    layer, x = layer_and_map(site_of(9, 9, SHIFTED), shift="padded")
    reached = influence_on(layer, x, 0, 4).any(-1)
    assert reached[0, 4:7].all()
    assert reached.sum() == 3


def test_filled_windows_keep_the_contract_where_they_are_shifted():
    checks = [name for name in CHECKS if name not in ("compiles", "exports")]  # which take most of the time
    check_mechanism("swin", checks=checks, sites=[site_of(5, 7, SHIFTED)], window=2, shift="padded")


# Memory. Narrow heads make the scores (h N M^2) eight times as many as the packed queries, keys and values (3 N C).
MEMORY_SITE = site_of(28, 28, SHIFTED, dim=8, heads=4)
SCORES = 4 * 28 * 28 * 49
QKV = 3 * 28 * 28 * 8
BIAS = 4 * 49 * 49
memory_case = partial(layer_and_map, MEMORY_SITE, batch=1, dtype=torch.float32, window=7)


def test_fused_attention_never_makes_the_scores():
    assert recorded_forward(*memory_case()).largest == QKV


def test_training_runs_the_fused_kernel():
    assert recorded_forward(*memory_case()).operators["_scaled_dot_product_flash_attention_for_cpu"] == 4


def test_fused_attention_saves_no_scores_for_backward():
    assert sum(bytes_saved_for_backward(*memory_case())) < FLOAT32_BYTES * SCORES / 2


def test_backward_makes_the_scores_of_a_chunk_of_windows_at_a_time(monkeypatch):
    monkeypatch.setattr(biased, "CHUNK_SCORES", BIAS)
    layer, x = memory_case()
    out = layer(x).sum()
    with Recording() as recording:
        out.backward()
    assert recording.largest == QKV


@pytest.mark.parametrize("chunk", [1, 3 * 2 * WINDOW**4])
def test_gradients_do_not_depend_on_the_chunk(monkeypatch, chunk):
    layer, x = layer_and_map(site_of(12, 15, SHIFTED))
    expected = gradients(layer, x, layer(x))
    monkeypatch.setattr(biased, "CHUNK_SCORES", chunk)
    torch.testing.assert_close(gradients(layer, x, layer(x)), expected, rtol=1e-11, atol=1e-11)


def test_masks_do_not_grow_with_the_map():
    small, large = (arrange(*[WindowSide.cut(length, window=7, shifted=True)] * 2) for length in (14, 140))
    assert small.masks.shape == large.masks.shape == (4, 49, 49)
    assert large.counts == (19 * 19, 19, 19, 1)


def test_filled_windows_are_of_as_many_kinds_and_one_more_along_each_side():
    side = WindowSide.cut(140, window=7, shifted=True, filled=True)
    arrangement = arrange(side, side)
    assert arrangement.masks.shape == (4, 49, 49)
    assert arrangement.counts == (19 * 19, 2 * 19, 2 * 19, 4)
    assert sum(arrangement.counts) == (140 / 7 + 1) ** 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_mask_over_the_whole_map_is_made(backend):
    windows = {1, 3, 9}  # the corner, the last row and the last column, the interior
    shapes = recorded_forward(*memory_case(backend=backend)).shapes
    of_scores = {shape for shape in shapes if shape[-2:] == (49, 49) and torch.Size(shape).numel() > BIAS}
    made_of_queries = {(count, 4, 49, 49) for count in windows} | {(count * 4, 49, 49) for count in windows}
    assert of_scores - {(4, 49, 49)} <= (made_of_queries if backend == "unfused" else set())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float64(dtype, backend):
    assert_half_precision_is_near(*layer_and_map(site_of(7, 5, SHIFTED), backend=backend), dtype)


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiles_into_one_graph_forward_and_backward(backend):
    assert_compiles_into_one_graph(*layer_and_map(site_of(7, 5, SHIFTED), dtype=torch.float32, backend=backend))
