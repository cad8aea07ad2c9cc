"""Less attention from layer to layer and from stage to stage, against its definition, in float64."""

from __future__ import annotations

import pytest
import torch
from layer_checks import (
    machine_flops,
)
from mechanism_cases.lavit import define, key_reduction
from torch import Tensor, nn

from attnbench import auxiliary
from attnbench.accuracy.tasks import learning, table
from attnbench.mechanism import Macs, Mechanism, Site
from attnbench.mechanisms.lavit import COEFFICIENT, LessAttention, diagonality_loss
from attnbench.mechanisms.lavit.loss import contributed
from attnbench.models.backbone import SWIN_T_SIZED, Backbone, Pyramid, Stack, sites
from attnbench.plugins import options

SMALL = Pyramid(dims=(8, 12), depths=(2, 3), heads=(2, 3), mlp_ratio=1, patch=2)


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    torch.manual_seed(0)


class Nothing(Mechanism):
    """What is left of a backbone's cost when attention costs nothing."""

    def forward(self, x):
        return x

    @classmethod
    def macs(cls, site, **options):
        return Macs(projections=0, attention=0)


def stage(height, width, *, depth=3, **options) -> list[LessAttention]:
    """Layers of one stage in float64, every parameter random so that none can be left out unnoticed."""
    places = [Site(height=height, width=width, dim=8, heads=2, layer=i, depth=depth) for i in range(depth)]
    return scramble([LessAttention(place, **options).double() for place in places])


def pyramid(height, width, **options) -> list[list[LessAttention]]:
    """Layers of the two stages of SMALL for an image, as ``stage`` makes them."""
    return [scramble([LessAttention(s, **options).double() for s in row]) for row in sites(SMALL, height, width)]


def scramble(layers: list[LessAttention]) -> list[LessAttention]:
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.5)
    return layers


def define_residual(a: Tensor, residual: nn.Module, maps, key_maps) -> Tensor:
    """Scores of one image (h', n_q', n_k') to the residual (h, n_q, n_k), for sides that divide."""
    queries, keys = merged_tokens(*maps), merged_tokens(*key_maps)
    merged = torch.stack(
        [
            sum(weight[i, j] * head[q[i], k[j]] for i in range(len(q)) for j in range(len(k)))
            for head, weight in zip(a, residual.merge.weight[:, 0], strict=True)
            for q in queries
            for k in keys
        ]
    ).reshape(len(a), len(queries), len(keys))
    merged = (merged - merged.mean()) / (merged.var(correction=0) + 1e-5).sqrt()
    weight, bias = residual.mix.weight[:, :, 0, 0], residual.mix.bias
    return torch.stack([(row[:, None, None] * merged).sum(0) + b for row, b in zip(weight, bias, strict=True)])


def merged_tokens(old, new):
    """For each token of the new map, the tokens of the old map that lie where it lies."""
    down, across = old[0] // new[0], old[1] // new[1]
    return [
        [(down * y + i) * old[1] + across * x + j for i in range(down) for j in range(across)]
        for y in range(new[0])
        for x in range(new[1])
    ]


def run(layers, x, carry=None):
    """Output of each layer with the outer residual, and the last scores."""
    for layer in layers:
        y, carry = layer.step(x, carry)
        x = x + y
    return x, carry


def gradients(output: Tensor, layers) -> list[Tensor]:
    parameters = [p for layer in layers for p in layer.parameters()]
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    return list(torch.autograd.grad((output * weights).sum(), parameters))


@pytest.mark.parametrize(("size", "options"), [((4, 4), {}), ((5, 3), {"key_reduction": 2}), ((2, 7), {"vanilla": 2})])
def test_output_scores_and_gradients_are_those_of_the_definition(size, options):
    layers = stage(*size, **options)
    x = torch.randn(2, *size, 8, dtype=torch.float64)
    output, scores = run(layers, x)
    images, last = [], []
    for image in x:
        handed = None
        for layer in layers:
            y, handed = define(image, layer, handed)
            image = image + y  # noqa: PLW2901 - the residual around the layer
        images.append(image)
        last.append(handed)
    torch.testing.assert_close(output, torch.stack(images), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(scores, torch.stack(last), rtol=1e-10, atol=1e-10)
    for found, expected in zip(gradients(output, layers), gradients(torch.stack(images), layers), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "key_maps"),
    [
        ({"key_reduction": 1}, ((8, 4), (4, 2))),
        ({"key_reduction": 2}, ((4, 2), (2, 1))),
    ],
)
def test_first_scores_of_a_later_stage_get_the_residual_of_the_stage_before(options, key_maps):
    first, second = pyramid(16, 8, vanilla=1, **options)
    x = torch.randn(2, 8, 4, 8, dtype=torch.float64)
    y = torch.randn(2, 4, 2, 12, dtype=torch.float64)
    carry = run(first, x)[1]
    output, scores = second[0].step(y, carry)
    for image in range(2):
        residual = define_residual(carry[image], second[0].attend.residual, ((8, 4), (4, 2)), key_maps)
        expected, expected_scores = define(y[image], second[0], None, residual)
        torch.testing.assert_close(scores[image], expected_scores, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(output[image], expected, rtol=1e-9, atol=1e-9)


def test_residual_merges_equally_many_keys_one_to_one():
    first, second = (row[0] for row in pyramid(16, 16))
    assert key_reduction(first) == 2
    assert key_reduction(second) == 1
    assert second.attend.residual.merge.weight.shape == (2, 1, 4, 1)


@pytest.mark.parametrize("size", [(14, 10), (5, 26), (2, 2)])
def test_every_old_score_has_a_part_in_the_residual_on_odd_maps(size):
    first, second = pyramid(*size, key_reduction=1)
    n = first[0].site.tokens
    old = torch.randn(1, 2, n, n, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(1, 3, second[0].site.tokens, second[0].site.tokens, dtype=torch.float64)
    (second[0].attend.residual(old) * weights).sum().backward()
    # One score alone is its own mean: the norm leaves nothing of it, nor of its gradient.
    assert (old.grad != 0).all() or second[0].site.tokens == 1


def test_untrained_less_attention_reuses_the_scores_exactly():
    places = [Site(height=6, width=5, dim=8, heads=2, layer=i, depth=3) for i in range(3)]
    vanilla, *less = [LessAttention(place) for place in places]
    x = torch.randn(2, 6, 5, 8)
    first = vanilla.step(x, None)[1]
    scores = first
    for layer in less:
        scores = layer.step(torch.randn_like(x), scores)[1]
        assert torch.equal(scores, first)


def test_less_attention_has_neither_queries_nor_keys():
    vanilla, less, _ = stage(4, 4)
    shapes = [tuple(p.shape) for p in less.attend.parameters()]
    assert shapes == [(16, 16), (16, 16)]
    assert sum(p.numel() for p in vanilla.attend.parameters()) == 2 * (8 * 8 + 8)


def test_less_attention_that_is_handed_nothing_weighs_every_key_the_same():
    layer = stage(3, 4)[1]
    x = torch.randn(1, 3, 4, 8, dtype=torch.float64)
    mean = layer.value(layer.norm(x)).mean((1, 2))
    torch.testing.assert_close(layer(x), layer.project(mean).expand(1, 3, 4, 8), rtol=1e-10, atol=1e-10)


def test_images_of_a_batch_do_not_see_each_other():
    backbone = Backbone(LessAttention, height=14, width=10, classes=5, pyramid=SMALL).double().train()
    images = torch.randn(3, 3, 14, 10, dtype=torch.float64)
    together = backbone(images)
    for image, logits in zip(images, together, strict=True):
        torch.testing.assert_close(backbone(image[None])[0], logits, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [(1, 1), (2, 6), (7, 45), (13, 4)])
@pytest.mark.parametrize("key_reduction", ["auto", 1, 3])
def test_maps_of_any_shape_train(size, key_reduction):
    backbone = Backbone(
        lambda site: LessAttention(site, key_reduction=key_reduction), height=size[0], width=size[1], pyramid=SMALL
    )
    backbone(torch.randn(1, 3, *size)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())


def test_keys_may_grow_in_number_from_one_stage_to_the_next():
    before = Site(height=6, width=6, dim=8, heads=2)
    old = LessAttention(before, key_reduction=3)
    new = LessAttention(Site(height=3, width=3, dim=8, heads=2, stride=32, before=before), key_reduction=1)
    assert new.attend.residual.keys.max() == 35
    assert old.step(torch.randn(1, 6, 6, 8), None)[1].shape == (1, 2, 36, 4)


@pytest.mark.parametrize("options", [{}, {"vanilla": 3}, {"vanilla": 2, "key_reduction": 2}])
def test_backends_have_the_same_parameters_and_output(options):
    sdpa = Backbone(lambda s: LessAttention(s, backend="sdpa", **options), height=20, width=12, pyramid=SMALL).double()
    unfused = Backbone(
        lambda s: LessAttention(s, backend="unfused", **options), height=20, width=12, pyramid=SMALL
    ).double()
    unfused.load_state_dict(sdpa.state_dict())
    images = torch.randn(2, 3, 20, 12, dtype=torch.float64)
    torch.testing.assert_close(sdpa(images), unfused(images), rtol=1e-10, atol=1e-10)


def test_scores_are_handed_on_only_to_layers_that_need_them():
    x = torch.randn(1, 4, 4, 8, dtype=torch.float64)
    handed = [layer.step(x, None)[1] is not None for layer in stage(4, 4, depth=4, vanilla=2)]
    assert handed == [False, True, True, True]


@pytest.mark.parametrize("options", [{}, {"vanilla": 2, "key_reduction": 3}, {"vanilla": 9, "backend": "unfused"}])
@pytest.mark.parametrize("size", [(224, 224), (97, 160)])
def test_macs_of_a_backbone_are_what_torch_counts(size, options):
    counted = {}
    for build in (lambda site: LessAttention(site, **options), Nothing):
        with torch.device("meta"):
            counted[build] = macs_counted(Backbone(build, height=size[0], width=size[1]), torch.randn(1, 3, *size))
    whole, rest = counted.values()
    closed = [LessAttention.macs(site, **options) for row in sites(SWIN_T_SIZED, *size) for site in row]
    assert sum(macs.total for macs in closed) == whole - rest


@pytest.mark.parametrize("options", [{}, {"vanilla": 3}, {"key_reduction": 4}])
def test_macs_of_a_stack_are_what_torch_counts(options):
    places = [Site(height=14, width=9, dim=64, heads=4, layer=i, depth=4) for i in range(4)]
    with torch.device("meta"):
        stack = Stack([LessAttention(place, **options) for place in places])
        counted = macs_counted(stack, torch.randn(1, 14, 9, 64))
    assert sum(LessAttention.macs(place, **options).total for place in places) == counted


def macs_counted(model: nn.Module, x: Tensor) -> int:
    return sum(machine_flops(model, x).values()) // 2


def test_token_mixing_with_full_keys_costs_more_than_the_whole_published_network():
    site = Site(height=28, width=28, dim=128, heads=2, stride=8, layer=1, depth=2)
    assert LessAttention.macs(site, key_reduction=1).other == 2 * 2 * 784**3
    assert LessAttention.macs(site, key_reduction=1).other > 1.9e9


def test_automatic_options_follow_pvt_at_224_pixels():
    rows = sites(SWIN_T_SIZED, 224, 224)
    layers = [[LessAttention(site) for site in row] for row in rows]
    assert [key_reduction(row[0]) for row in layers] == [8, 4, 2, 1]
    assert [sum(hasattr(layer.attend, "query") for layer in row) for row in layers] == [2, 1, 1, 1]
    assert not any(LessAttention.adaptation(site) for row in rows for site in row)


def test_later_stages_of_a_pyramid_for_small_images_reuse_scores_too():
    reuses = [[hasattr(LessAttention(site).attend, "psi") for site in row] for row in sites(SMALL, 16, 16)]
    assert reuses == [[False, False], [False, True, True]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite_and_near_on_a_large_map_of_large_values(dtype):
    pyramid = Pyramid(dims=(8, 12), depths=(1, 6), heads=(2, 3), mlp_ratio=1, patch=2)
    backbone = Backbone(LessAttention, height=64, width=64, classes=5, pyramid=pyramid).eval()
    images = 1e3 * torch.randn(2, 3, 64, 64)
    exact = backbone(images)
    half = backbone.to(dtype)(images.to(dtype))
    assert half.isfinite().all()
    torch.testing.assert_close(half.float(), exact, rtol=0.1, atol=0.1)


def test_a_backbone_compiles_without_graph_breaks():
    backbone = Backbone(LessAttention, height=16, width=12, classes=5, pyramid=SMALL)
    images = torch.randn(1, 3, 16, 12)
    compiled = torch.compile(backbone, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), backbone(images))


def test_diagonality_loss_is_the_printed_sum():
    a = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    losses = []
    for matrix in a.flatten(0, 1):
        asymmetry = sum(abs(matrix[i, j] - matrix[j, i]) for i in range(4) for j in range(4))
        diagonal = sum(3 * matrix[i, i] - sum(matrix[i, j] for j in range(4) if j != i) for i in range(4))
        losses.append((asymmetry + diagonal, asymmetry - diagonal))
    printed, corrected = torch.tensor(losses, dtype=torch.float64).mean(0)
    torch.testing.assert_close(diagonality_loss(a, "printed"), printed)
    torch.testing.assert_close(diagonality_loss(a, "sign-corrected"), corrected)


@pytest.mark.parametrize(("form", "rises"), [("printed", False), ("sign-corrected", True), ("bounded", True)])
def test_only_the_sign_corrected_loss_raises_the_diagonal(form, rises):
    a = torch.zeros(5, 5, requires_grad=True)
    diagonality_loss(a, form).backward()
    assert (-a.grad.diagonal() > 0).all() == rises


def test_the_bounded_loss_is_of_weights_and_least_for_the_identity():
    a = torch.randn(2, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(diagonality_loss(a), diagonality_loss(a.softmax(-1), "sign-corrected"))
    least = diagonality_loss(100.0 * torch.eye(6, dtype=torch.float64))
    torch.testing.assert_close(least.item(), -6.0 * 5)
    assert diagonality_loss(1e3 * a) > least


def test_an_untrained_stage_starts_from_scores_of_its_own():
    before, after = sites(SMALL, 16, 16)
    last, first = LessAttention(before[-1]), LessAttention(after[0])
    _, carry = last.step(torch.randn(1, before[0].height, before[0].width, 8), None)
    x = torch.randn(1, after[0].height, after[0].width, 12)
    torch.testing.assert_close(first.step(x, carry)[0], first.step(x, None)[0])


def test_diagonality_loss_refuses_reduced_keys():
    with pytest.raises(ValueError, match="key_reduction=1"):
        diagonality_loss(torch.zeros(4, 2))


def heard_of(layers: list[LessAttention], x: Tensor) -> list[Tensor]:
    with auxiliary.listening() as heard:
        carry = None
        for layer in layers:
            _, carry = layer.step(x, carry)
    return heard


def test_the_loss_that_layers_contribute_reaches_what_makes_the_scores():
    layers = stage(4, 3, key_reduction=1, vanilla=1)
    sum(heard_of(layers, torch.randn(2, 4, 3, 8, dtype=torch.float64))).backward()
    for parameter in (layers[0].attend.query.weight, layers[0].attend.key.weight, layers[2].attend.psi.weight):
        assert parameter.grad.abs().max() > 0
    assert all(layer.value.weight.grad is None for layer in layers[-1:])


def test_the_loss_is_the_bounded_form_meant_over_layers_and_the_same_where_scores_are_fused_away():
    x = torch.randn(2, 4, 3, 8, dtype=torch.float64)
    fused = stage(4, 3, key_reduction=1, vanilla=3)
    unfused = stage(4, 3, key_reduction=1, vanilla=3, backend="unfused")
    for one, other in zip(fused, unfused, strict=True):
        other.load_state_dict(one.state_dict())
    found, plain = heard_of(fused, x), heard_of(unfused, x)
    assert len(found) == 3
    torch.testing.assert_close(sum(found), sum(plain))
    _, scores = unfused[0].step(x, None)
    torch.testing.assert_close(found[0], COEFFICIENT / 3 * diagonality_loss(scores) / (12 * 11))


def test_the_identity_contributes_minus_the_coefficient_whatever_the_size_and_type():
    for tokens in (4, 300):
        scores = (100.0 * torch.eye(tokens)).to(torch.float16)
        assert contributed(scores, 0.4).item() == pytest.approx(-0.4)


@pytest.mark.parametrize("given", [{"dp_loss": "off"}, {"dp_loss": 0.0}, {"key_reduction": 2}])
def test_where_it_is_off_or_keys_are_reduced_nothing_is_contributed(given):
    assert not heard_of(stage(4, 4, **({"key_reduction": 1} | given)), torch.randn(1, 4, 4, 8, dtype=torch.float64))


def test_off_trains_as_if_nobody_had_heard_the_loss_bit_for_bit_and_on_does_not(monkeypatch):
    monkeypatch.setattr(learning, "STEPS", 2)
    task = table.read("shift:offset=1").task

    def weights(**given):
        model = learning.build_network(lambda site: LessAttention(site, **given), task, seed=0)
        list(learning.practise(model, task, [1], seed=0, epochs=1))
        return torch.cat([each.detach().flatten() for each in model.parameters()])

    on, off = weights(), weights(dp_loss="off")
    monkeypatch.setattr(auxiliary, "is_heard", lambda: False)
    assert torch.equal(off, weights())
    assert not torch.equal(off, on)


def test_the_loss_can_be_typed_and_renames_no_cell_where_it_is_not():
    as_ever = {"vanilla": "auto", "key_reduction": "auto", "backend": "sdpa"}
    assert options.resolve(LessAttention, {}) == options.resolve(LessAttention, {"dp_loss": "on"}) == as_ever
    typed = [options.resolve(LessAttention, {"dp_loss": given})["dp_loss"] for given in ("off", "0.1")]
    assert typed == ["off", 0.1]


@pytest.mark.parametrize("coefficient", [-0.1, float("nan")])
def test_a_coefficient_that_is_none_is_refused(coefficient):
    with pytest.raises(ValueError, match="dp_loss must be 'on', 'off' or a coefficient"):
        LessAttention(Site(height=4, width=4, dim=8, heads=2), dp_loss=coefficient)
