"""Hierarchical attention against its definition, written token by token in float64, and the authors' outputs."""

from __future__ import annotations

from functools import partial
from itertools import product

import layer_checks
import pytest
import torch
from golden_recipe import golden, golden_input, pytorch_tensor
from layer_checks import (
    assert_closed_form,
    assert_output_and_gradients,
    assert_refused,
    attention_by_definition,
    random_layer_and_map,
)
from plain import PlainHMHSA
from torch import Tensor, nn

from attnbench.mechanism import Site
from mechanisms.hmhsa import HMHSA

CASES = {
    "divisible": (8, 12, 4, 2),
    "odd": (9, 7, 4, 2),
    "wide": (2, 13, 4, 3),
    "smaller than a grid": (3, 5, 7, 8),
    "one token": (1, 1, 4, 2),
    "pool that the grid does not divide": (10, 10, 5, 3),
    "plain attention": (5, 6, 1, 2),
}
cases = pytest.mark.parametrize(("height", "width", "grid", "pool"), CASES.values(), ids=CASES)
layer_and_map = partial(random_layer_and_map, HMHSA, std=0.5)
site_of = partial(layer_checks.site_of, dim=12, heads=3)


def normed(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    """One image, (H, W, C), over all its numbers."""
    return (x - x.mean()) / (x.var(correction=0) + 1e-6).sqrt() * norm.weight + norm.bias


def projected(tokens: Tensor, conv: nn.Conv2d) -> Tensor:
    return tokens @ conv.weight[:, :, 0, 0].T + conv.bias


def blocks(height: int, width: int, side: int) -> list[list[tuple[int, int]]]:
    """The tokens that fall into each square of a lattice, empty places left out."""
    squares = product(range(-(-height // side)), range(-(-width // side)))
    tokens = list(product(range(height), range(width)))
    return [[(i, j) for i, j in tokens if (i // side, j // side) == square] for square in squares]


def definition(layer: HMHSA, x: Tensor) -> Tensor:
    """One image, (H, W, C), by the equations of the module's docstring."""
    heads, (height, width, _) = layer.site.heads, x.shape
    q, k, v = projected(normed(x, layer.norm), layer.qkv).chunk(3, -1)
    if layer.grid == 1:
        z = attention_by_definition(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), heads)
        return projected(z.view(x.shape), layer.proj)
    local = torch.zeros_like(x)
    for grid in blocks(height, width, layer.grid):
        rows, columns = zip(*grid, strict=True)
        local[rows, columns] = attention_by_definition(*(t[rows, columns] for t in (q, k, v)), heads)
    local = normed(local + x, layer.grid_norm)
    pools = [torch.stack([local[i, j] for i, j in pool]).mean(0) for pool in blocks(height, width, layer.pool)]
    k, v = projected(normed(torch.stack(pools), layer.ds_norm), layer.kv).chunk(2, -1)
    distant = attention_by_definition(projected(local, layer.q).flatten(0, 1), k, v, heads).view(x.shape)
    return projected(local + distant, layer.proj)


@pytest.mark.parametrize("backend", ["sdpa", "unfused"])
@cases
def test_output_and_gradients_are_those_of_the_definition(height, width, grid, pool, backend):
    layer, x = layer_and_map(site_of(height, width), grid=grid, pool=pool, backend=backend)
    learned = {name: parameter for name, parameter in layer.named_parameters() if parameter.requires_grad}
    expected = torch.stack([definition(layer, image) for image in x])
    assert_output_and_gradients(layer, x, expected, within=1e-9, gradients_within=1e-7, parameters=learned)


@cases
def test_smaller_grids_are_what_padding_and_masking_comes_to(height, width, grid, pool):
    layer, x = layer_and_map(site_of(height, width), grid=grid, pool=pool)
    torch.testing.assert_close(layer(x), PlainHMHSA(layer)(x), rtol=1e-9, atol=1e-9)


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


@cases
def test_the_closed_form_is_what_a_machine_counts(height, width, grid, pool):
    parts = {"addmm": "projections", "mm": "projections", "bmm": "attention"}
    assert_closed_form(HMHSA, site_of(height, width), parts, grid=grid, pool=pool)


def test_a_map_that_does_not_divide_costs_no_more_than_its_tokens():
    whole, odd = (HMHSA.macs(site_of(n, n), grid=7, pool=1).projections for n in (14, 15))
    assert odd * 14**2 == whole * 15**2


@pytest.mark.parametrize(
    ("height", "width", "said"),
    [
        (56, 56, None),
        (56, 60, "the map ends in grids of 8x4 and pools of 8x4, instead of 8x8 and 8x8"),
        (57, 56, "the map ends in grids of 1x8 and pools of 1x8, instead of 8x8 and 8x8"),
    ],
)
def test_what_is_done_to_a_map_that_does_not_divide_is_said(height, width, said):
    assert HMHSA.adaptation(site_of(height, width, stride=4)) == said


def test_plain_attention_takes_any_map_as_it_is():
    assert HMHSA.adaptation(site_of(57, 3, stride=32)) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"grid": 0}, "grid must be at least 1 or 'auto', got 0"),
        ({"pool": -1}, "pool must be at least 1 or 'auto', got -1"),
    ],
)
def test_sizes_that_no_map_could_take_are_refused(options, said):
    assert_refused(HMHSA, site_of(8, 8), said, **options)


@pytest.mark.parametrize("case", ["divisible", "odd", "plain attention"])
def test_the_layer_is_one_graph(case):
    height, width, grid, pool = CASES[case]
    layer, x = layer_and_map(site_of(height, width), grid=grid, pool=pool)
    compiled = torch.compile(layer, fullgraph=True, dynamic=False, backend="eager")
    torch.testing.assert_close(compiled(x), layer(x))
