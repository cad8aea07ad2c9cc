"""Shifted-window attention: its ways to shift, whom they reach, and what is made in memory."""

from functools import partial

import pytest
import torch
from layer_checks import (
    gradients,
    influence_on,
    random_layer_and_map,
    recorded_forward,
    site_of,
)
from recording import Recording

from attnbench.mechanisms.swin import ShiftedWindowAttention as Swin
from attnbench.mechanisms.swin import biased, images
from attnbench.mechanisms.swin.permuted import permuted
from attnbench.mechanisms.swin.windows import WindowSide, arrange
from attnbench.testing import CHECKS, check_mechanism

BACKENDS = ["sdpa", "unfused"]
PLAIN, SHIFTED = 0, 1
WINDOW = 3
layer_and_map = partial(random_layer_and_map, Swin, std=0.5, window=WINDOW)


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


def test_macs_are_those_of_the_published_table():
    """14 x 14 tokens, C 768, windows of 7: 477.17 M (a peer's table of one layer)."""
    assert round(Swin.macs(site_of(14, 14, PLAIN, dim=768, heads=12)).total / 1e6, 2) == 477.17


def test_filling_windows_costs_what_the_paper_says():
    """Section 3.2: 2 x 2 windows become 3 x 3, "2.25 times greater"."""
    site = site_of(14, 14, SHIFTED)
    assert Swin.macs(site, shift="padded").total == 2.25 * Swin.macs(site).total
    assert Swin.macs(site_of(14, 14, PLAIN), shift="padded") == Swin.macs(site, shift="none") == Swin.macs(site)


@pytest.mark.parametrize(("side", "window"), [(7, 7), (12, 12), (14, 14), (16, 16), (1, 1)])
def test_scaled_window_at_the_last_stage_holds_as_much_of_the_image_as_at_224(side, window):
    layer = Swin(site_of(side, side, PLAIN, stride=32), resolution_policy="scaled")
    assert layer.rows.window == layer.columns.window == window


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


MEMORY_SITE = site_of(28, 28, SHIFTED, dim=8, heads=4)
QKV = 3 * 28 * 28 * 8
BIAS = 4 * 49 * 49
memory_case = partial(layer_and_map, MEMORY_SITE, batch=1, dtype=torch.float32, window=7)


def test_training_runs_the_fused_kernel():
    assert recorded_forward(*memory_case()).operators["_scaled_dot_product_flash_attention_for_cpu"] == 4


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


def test_rows_put_in_another_order_have_their_gradients_to_the_second():
    x = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    order = torch.tensor([3, 0, 4, 1, 2], dtype=torch.int32)
    inverse = order.argsort().int()
    assert torch.equal(permuted(x, order, inverse), x[order])
    assert torch.autograd.gradcheck(lambda rows: permuted(rows, order, inverse).square(), x)
    assert torch.autograd.gradgradcheck(lambda rows: permuted(rows, order, inverse).square(), x)


@pytest.mark.parametrize("layer", [PLAIN, SHIFTED])
def test_outputs_and_gradients_do_not_depend_on_how_many_images_go_together(layer, monkeypatch):
    swin, x = layer_and_map(site_of(7, 5, layer), batch=3)
    expected = swin(x)
    monkeypatch.setattr(images, "KEPT_BYTES", 2 * 7 * 5 * 3 * swin.site.dim * x.element_size())
    with Recording() as recording:
        out = swin(x)
    assert recording.operators["native_layer_norm"] == 2
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients(swin, x, out), gradients(swin, x, expected), rtol=1e-10, atol=1e-10)


def test_large_batches_make_no_block_that_is_given_back_to_the_system():
    layer, x = random_layer_and_map(Swin, site_of(56, 56, PLAIN, dim=96, heads=3), batch=6, dtype=torch.float32)
    assert recorded_forward(layer.requires_grad_(False), x.detach()).largest * 4 <= images.KEPT_BYTES


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
