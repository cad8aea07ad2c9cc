"""MHSA against its definition, against timm's layer, and for what it costs."""

import pytest
import torch
from recording import Recording, saving_into
from timm.models.vision_transformer import Attention
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import layer_norm
from torch.utils.flop_counter import FlopCounterMode

from attnbench.mechanism import Macs, Site
from mechanisms.mhsa import MHSA

BACKENDS = ["sdpa", "unfused"]
SITES = {
    "square": Site(height=4, width=4, dim=12, heads=3),
    "odd": Site(height=3, width=5, dim=8, heads=1),
    "one row": Site(height=1, width=7, dim=6, heads=2),
    "one token": Site(height=1, width=1, dim=4, heads=2),
}


def layer_and_map(site, *, batch=2, dtype=torch.float64, **options):
    """A layer whose weights are large enough that attention is far from uniform, and a map."""
    torch.manual_seed(0)
    layer = MHSA(site, **options).to(dtype)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return layer, torch.randn(batch, site.height, site.width, site.dim, dtype=dtype, requires_grad=True)


def by_definition(layer, x):
    """softmax(q k / sqrt d) v, image by image, head by head, query by query."""
    heads, d = layer.site.heads, layer.site.head_dim
    images = []
    for image in x.flatten(1, 2):
        y = layer_norm(image, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        q, k, v = torch.nn.functional.linear(y, layer.qkv.weight, layer.qkv.bias).chunk(3, dim=-1)
        rows = []
        for query in q:
            parts = []
            for head in range(heads):
                channels = slice(head * d, (head + 1) * d)
                weights = torch.exp(k[:, channels] @ query[channels] / d**0.5)
                parts.append((weights / weights.sum()) @ v[:, channels])
            rows.append(torch.cat(parts))
        images.append(torch.stack(rows) @ layer.proj.weight.T + layer.proj.bias)
    return torch.stack(images).view(x.shape)


def gradients(layer, x, out):
    torch.manual_seed(1)
    return torch.autograd.grad(out, [x, *layer.parameters()], torch.randn_like(out))


@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_output_and_gradients_are_those_of_the_definition(site, backend, qkv_bias):
    layer, x = layer_and_map(site, backend=backend, qkv_bias=qkv_bias)
    out, expected = layer(x), by_definition(layer, x)
    torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(gradients(layer, x, out), gradients(layer, x, expected), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_output_is_timms_with_the_same_weights(backend):
    layer, x = layer_and_map(SITES["odd"], backend=backend)
    timms = Attention(8, num_heads=1, qkv_bias=True).double()
    timms.load_state_dict({name: value for name, value in layer.state_dict().items() if not name.startswith("norm")})
    expected = timms(layer.norm(x).flatten(1, 2)).view(x.shape)
    torch.testing.assert_close(layer(x), expected, rtol=1e-11, atol=1e-11)


def test_backends_have_the_same_parameters_and_output():
    fused, x = layer_and_map(SITES["square"], backend="sdpa")
    unfused = MHSA(SITES["square"], backend="unfused").double()
    unfused.load_state_dict(fused.state_dict())
    torch.testing.assert_close(fused(x), unfused(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_of_a_batch_do_not_see_each_other(backend):
    layer, x = layer_and_map(SITES["odd"], batch=3, backend=backend)
    torch.testing.assert_close(layer(x), torch.cat([layer(image[None]) for image in x]), rtol=1e-12, atol=1e-12)
    (grad,) = torch.autograd.grad(layer(x)[1].sum(), x)
    assert grad[1].any()
    assert not grad[[0, 2]].any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_closed_form_is_the_machine_count(site, backend):
    with torch.device("meta"):
        layer, x = MHSA(site, backend=backend), torch.empty(1, site.height, site.width, site.dim)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        layer(x)
    flops = counter.get_flop_counts()["Global"]
    macs = MHSA.macs(site, backend=backend)
    assert flops == {torch.ops.aten.addmm: 2 * macs.projections, torch.ops.aten.bmm: 2 * macs.attention}


def test_macs_are_those_of_the_published_table():
    """14 x 14 tokens, C 768: 521.43 M (a peer's table of one layer)."""
    assert round(MHSA.macs(Site(height=14, width=14, dim=768, heads=12)).total / 1e6, 2) == 521.43


def test_macs_leave_nothing_to_other():
    assert MHSA.macs(Site(height=2, width=3, dim=4, heads=2)) == Macs(projections=384, attention=288, other=0)


MEMORY_SITE = Site(height=16, width=16, dim=16, heads=4)
SCORES = 4 * 256**2
QKV = 3 * 256 * 16
FLOAT32_BYTES = 4


def test_fused_attention_never_makes_the_scores_forward_or_backward():
    layer, x = layer_and_map(MEMORY_SITE, batch=1, dtype=torch.float32)
    with Recording() as recording:
        layer(x).sum().backward()
    assert recording.largest == QKV


def test_unfused_attention_makes_the_scores():
    layer, x = layer_and_map(MEMORY_SITE, batch=1, dtype=torch.float32, backend="unfused")
    with Recording() as recording:
        layer(x)
    assert recording.largest == SCORES


def test_fused_attention_saves_no_scores_for_backward():
    layer, x = layer_and_map(MEMORY_SITE, batch=1, dtype=torch.float32)
    storages = {}
    with saving_into(storages):
        layer(x)
    assert sum(storages.values()) < FLOAT32_BYTES * SCORES / 4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float64(dtype, backend):
    layer, x = layer_and_map(SITES["square"], backend=backend)
    expected = layer(x)
    got = layer.to(dtype)(x.to(dtype))
    assert got.dtype == dtype
    assert (got - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiles_into_one_graph_forward_and_backward(backend):
    layer, x = layer_and_map(SITES["odd"], dtype=torch.float32, backend=backend)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradients(layer, x, compiled(x)), gradients(layer, x, layer(x)))


def test_heads_that_do_not_divide_the_channels_are_refused_with_the_reason():
    assert MHSA.why_unsupported(Site(height=2, width=2, dim=10, heads=3)) == "dim 10 does not divide into 3 heads"
    assert MHSA.why_unsupported(SITES["odd"]) is None
