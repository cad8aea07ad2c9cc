"""Hierarchical attention: the authors' outputs and checkpoints, the paper's cost, and its choices by stage."""

from __future__ import annotations

from functools import partial

import layer_checks
import pytest
import torch
from golden_recipe import golden, golden_input, pytorch_tensor
from layer_checks import (
    gradients,
    random_layer_and_map,
)

from attnbench.mechanism import Site
from attnbench.mechanisms.hmhsa import HMHSA
from attnbench.mechanisms.swin import images

layer_and_map = partial(random_layer_and_map, HMHSA, std=0.5)
site_of = partial(layer_checks.site_of, dim=12, heads=3)


@pytest.mark.parametrize("name", ["hmhsa_layer_a", "hmhsa_layer_b", "hmhsa_layer_c"])
def test_the_authors_outputs_are_reproduced(name):
    expected, config, _ = golden(name)
    dim, heads = config["dim"], config["dim"] // config["head_dim"]
    site = Site(height=config["height"], width=config["width"], dim=dim, heads=heads)
    layer = HMHSA(site, grid=config["grid_size"], pool=config["ds_ratio"])
    layer.load_state_dict({name: pytorch_tensor(name, tensor.shape) for name, tensor in layer.state_dict().items()})
    found = layer(golden_input(expected.shape).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_parameters_have_the_names_and_shapes_of_the_published_checkpoints():
    norms = {
        f"{name}.{part}": (12,) for name in ("norm", "proj_norm", "grid_norm", "ds_norm") for part in ("weight", "bias")
    }
    convs = {"qkv": 36, "proj": 12, "q": 12, "kv": 24}
    weights = {f"{name}.weight": (out, 12, 1, 1) for name, out in convs.items()}
    biases = {f"{name}.bias": (out,) for name, out in convs.items()}
    found = {name: tuple(tensor.shape) for name, tensor in HMHSA(site_of(8, 8), grid=4, pool=2).state_dict().items()}
    assert found == norms | weights | biases


@pytest.mark.parametrize(("stride", "grid", "pool"), [(4, 8, 8), (8, 7, 4), (16, 7, 2), (32, 1, 1), (64, 1, 1)])
def test_grids_and_pools_follow_the_stage_as_published(stride, grid, pool):
    layer = HMHSA(site_of(56, 56, stride=stride))
    assert (layer.grid, layer.pool) == (grid, pool)


@pytest.mark.parametrize(
    ("height", "width", "dim", "grid", "pool"), [(56, 56, 64, 8, 8), (28, 28, 128, 7, 4), (14, 42, 320, 7, 2)]
)
def test_the_closed_form_is_equation_15_and_the_output_projection_where_grids_divide(height, width, dim, grid, pool):
    site = Site(height=height, width=width, dim=dim, heads=dim // 64 or 1)
    n = height * width
    equation_15 = n * dim * (4 * dim + 2 * grid**2) + 2 * (n // pool**2) * dim * (dim + n)
    assert HMHSA.macs(site, grid=grid, pool=pool).total == equation_15 + n * dim**2


def test_a_map_that_does_not_divide_costs_no_more_than_its_tokens():
    whole, odd = (HMHSA.macs(site_of(n, n), grid=7, pool=1).projections for n in (14, 15))
    assert odd * 14**2 == whole * 15**2


@pytest.mark.parametrize(
    ("height", "width", "grid", "pool"),
    [(8, 12, 4, 2), (9, 7, 4, 2), (5, 6, 1, 2)],
    ids=["divisible", "odd", "plain attention"],
)
def test_the_layer_is_one_graph(height, width, grid, pool):
    layer, x = layer_and_map(site_of(height, width), grid=grid, pool=pool)
    compiled = torch.compile(layer, fullgraph=True, dynamic=False, backend="eager")
    torch.testing.assert_close(compiled(x), layer(x))


@pytest.mark.parametrize("grid", [4, 1])
def test_outputs_and_gradients_do_not_depend_on_how_many_images_go_together(grid, monkeypatch):
    layer, x = layer_and_map(site_of(9, 7), grid=grid, pool=2, batch=3)
    expected = layer(x)
    monkeypatch.setattr(images, "KEPT_BYTES", 1)
    out = layer(x)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients(layer, x, out), gradients(layer, x, expected), rtol=1e-10, atol=1e-10)
