"""What the test of a mechanism builds and asks of its layers, whichever mechanism it is.

What is asked of all registered mechanisms as they come is in ``test_contract.py``; here weights are large, backends and
options are the caller's, and the expected values come from a definition that is the caller's too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from recording import Recording, saving_into
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from attnbench.mechanism import Mechanism, Site
from attnbench.probes.flops import count

SITES = {
    "square": Site(height=4, width=4, dim=12, heads=3),
    "odd": Site(height=3, width=5, dim=8, heads=1),
    "one row": Site(height=1, width=7, dim=6, heads=2),
    "one token": Site(height=1, width=1, dim=4, heads=2),
}
"""Small maps for mechanisms that take any map as it is."""
PVT_STAGES = {
    "stage 1": Site(height=56, width=56, dim=64, heads=1, stride=4),
    "stage 2": Site(height=28, width=28, dim=128, heads=2, stride=8),
    "stage 3": Site(height=14, width=14, dim=320, heads=5, stride=16),
    "stage 4": Site(height=7, width=7, dim=512, heads=8, stride=32),
}
"""The four stages of PVT-Small, and of PVTv2-B2-Li, at 224 pixels."""
FLOAT32_BYTES = 4


def site_of(height: int, width: int, layer: int = 0, *, dim: int = 8, heads: int = 2, stride: int = 16) -> Site:
    return Site(height=height, width=width, dim=dim, heads=heads, layer=layer, stride=stride)


def random_layer_and_map(
    mechanism: type[Mechanism],
    site: Site,
    *,
    batch: int = 2,
    dtype: torch.dtype = torch.float64,
    std: float = 0.4,
    **options: Any,
) -> tuple[Mechanism, Tensor]:
    """Return a layer whose weights are large enough that attention is far from uniform, and maps (batch, H, W, C)."""
    torch.manual_seed(0)
    layer = mechanism(site, **options).to(dtype)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=std)
    return layer, torch.randn(batch, site.height, site.width, site.dim, dtype=dtype, requires_grad=True)


def attention_by_definition(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """softmax(q k / sqrt d) v, query by query, head by head: (N, C), (M, C), (M, C) to (N, C)."""
    rows = []
    for query in queries:
        parts = []
        for q, k, v in zip(query.chunk(heads), keys.chunk(heads, -1), values.chunk(heads, -1), strict=True):
            weights = torch.exp(k @ q / len(q) ** 0.5)
            parts.append((weights / weights.sum()) @ v)
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def gradients(
    layer: nn.Module, x: Tensor, out: Tensor, *, parameters: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return the gradients of one direction of an output, of the map as "x" and of parameters, the learned ones."""
    learned = {name: each for name, each in layer.named_parameters() if each.requires_grad}
    wanted = {"x": x, **(learned if parameters is None else parameters)}
    torch.manual_seed(1)
    found = torch.autograd.grad(out, list(wanted.values()), torch.randn_like(out))
    return dict(zip(wanted, found, strict=True))


def assert_output_and_gradients(
    layer: nn.Module,
    x: Tensor,
    expected: Tensor,
    *,
    within: float = 1e-11,
    gradients_within: float = 1e-8,
    parameters: Mapping[str, Tensor] | None = None,
) -> None:
    """Assert that a layer's output for maps (B, H, W, C) and all its gradients are those of an expected output."""
    out = layer(x)
    torch.testing.assert_close(out, expected, rtol=within, atol=within)
    found, right = (gradients(layer, x, each, parameters=parameters) for each in (out, expected))
    torch.testing.assert_close(found, right, rtol=gradients_within, atol=gradients_within / 10)


def with_weights_of(theirs: nn.Module, ours: nn.Module, names: Mapping[str, str]) -> nn.Module:
    """Return another's module after loading weights into its submodules, each from the one of ours it is named to."""
    for their_name, our_name in names.items():
        theirs.get_submodule(their_name).load_state_dict(ours.get_submodule(our_name).state_dict())
    return theirs


def assert_same_with_its_weights(other: nn.Module, layer: nn.Module, x: Tensor) -> None:
    """Assert that another module takes a layer's parameters by name and then has its output in float64."""
    other.double().load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(x), layer(x), rtol=1e-12, atol=1e-12)


def assert_images_do_not_see_each_other(layer: nn.Module, x: Tensor) -> None:
    """Assert it of three maps (3, H, W, C), of their outputs and of the gradients of one of them."""
    torch.testing.assert_close(layer(x), torch.cat([layer(image[None]) for image in x]), rtol=1e-12, atol=1e-12)
    (grad,) = torch.autograd.grad(layer(x)[1].sum(), x)
    seen = grad.flatten(1).any(1).tolist()
    assert seen == [False, True, False], f"gradients of the second image's output reach the images {seen}"


def influence_on(layer: nn.Module, x: Tensor, row: int, column: int) -> Tensor:
    """Return the gradients (H, W, C) of the first map's output at one token with respect to that map."""
    (grad,) = torch.autograd.grad(layer(x)[0, row, column].sum(), x)
    return grad[0]


def machine_flops(module: nn.Module, *inputs: Any) -> Mapping[Any, int]:
    """Return what torch's counter finds, by operator."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        module(*inputs)
    return counter.get_flop_counts()["Global"]


def flops_on_meta(mechanism: type[Mechanism], site: Site, **options: Any) -> Mapping[Any, int]:
    """Return what torch's counter finds for one image on the meta device, by operator."""
    with torch.device("meta"):
        layer, x = mechanism(site, **options), torch.empty(1, site.height, site.width, site.dim)
    return machine_flops(layer, x)


def assert_closed_form(
    mechanism: type[Mechanism], site: Site, parts: Mapping[str, str | tuple[str, ...]], **options: Any
) -> None:
    """Assert that each part of the closed form is what torch counts for one image on the meta device.

    Args:
        mechanism: with a closed form.
        site: where.
        parts: which part of the closed form each operator belongs to, or the sum of which parts it is; every operator
            that counts must have one.
        options: of the mechanism.
    """
    sums = {operator: part if isinstance(part, tuple) else (part,) for operator, part in parts.items()}
    counted: Counter[tuple[str, ...]] = Counter()
    for operator, flops in flops_on_meta(mechanism, site, **options).items():
        counted[sums.get(operator.__name__, (f"{operator} of no part",))] += flops
    closed: Counter[tuple[str, ...]] = Counter()
    for part, macs in asdict(mechanism.macs(site, **options)).items():
        closed[next((found for found in sums.values() if part in found), (part,))] += 2 * macs
    assert counted == closed, f"torch counts FLOPs {dict(counted)}, the closed form says {dict(closed)}"


def assert_both_counters_find_the_closed_form(mechanism: type[Mechanism], site: Site, **options: Any) -> None:
    """Assert that torch's and fvcore's counts of two images are the closed form, and nothing is left uncounted."""
    counts = count(lambda: (mechanism(site, **options), (torch.empty(2, site.height, site.width, site.dim),)))
    macs = mechanism.macs(site, **options)
    found = (counts.macs_torch, counts.macs_fvcore, counts.macs_attention)
    assert found == (macs.total, macs.total, macs.attention), f"{counts} is not {macs}"
    assert (counts.uncounted, counts.remark) == ((), ""), f"{counts} leaves something out"


def recorded_forward(layer: nn.Module, x: Tensor) -> Recording:
    with Recording() as recording:
        layer(x)
    return recording


def recorded_training(layer: nn.Module, x: Tensor) -> Recording:
    """Record a forward and a backward pass."""
    with Recording() as recording:
        layer(x).sum().backward()
    return recording


def bytes_saved_for_backward(layer: nn.Module, x: Tensor) -> list[int]:
    """Return the bytes of every storage that autograd saves, weights and map included."""
    storages: dict[int, int] = {}
    with saving_into(storages):
        layer(x)
    return list(storages.values())


def assert_near(found: Tensor, expected: Tensor, *, within: float = 0.03) -> None:
    """Assert that the norm of a difference is less than a share of the norm of what was expected."""
    off = ((found - expected).norm() / expected.norm()).item()
    assert off < within, f"off by {off:.3g} of the norm of what was expected, not less than {within}"


def assert_half_precision_is_near(layer: nn.Module, x: Tensor, dtype: torch.dtype) -> None:
    """Assert that output and gradient of maps (B, H, W, C) in half precision are near those in float64."""
    expected = layer(x)
    right = gradients(layer, x, expected)["x"]
    half, y = layer.to(dtype), x.detach().to(dtype).requires_grad_()
    got = half(y)
    torch.manual_seed(1)
    (grad,) = torch.autograd.grad(got, y, torch.randn_like(expected).to(dtype))
    assert got.dtype == grad.dtype == dtype, f"output in {got.dtype}, gradient in {grad.dtype}, not {dtype}"
    assert_near(got, expected)
    assert_near(grad, right)


def assert_compiles_into_one_graph(layer: nn.Module, x: Tensor, *, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Assert that the compiled layer has the output and the gradients of the layer."""
    out = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
    expected = layer(x)
    torch.testing.assert_close(out, expected, rtol=rtol, atol=atol)
    torch.testing.assert_close(gradients(layer, x, out), gradients(layer, x, expected), rtol=rtol, atol=atol)


def assert_exports(layer: nn.Module, x: Tensor) -> None:
    exported = torch.export.export(layer, (x.detach(),)).module()
    torch.testing.assert_close(exported(x.detach()), layer(x), rtol=1e-12, atol=1e-12)


def assert_refused(mechanism: type[Mechanism], site: Site, said: str, **options: Any) -> None:
    """Assert that an option which no site could take is an error, in building and in asking whether one can build."""
    for ask in (mechanism, mechanism.why_unsupported):
        assert_error(ask, site, said, options)


def assert_error(ask: Callable[..., object], site: Site, said: str, options: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match=said):
        ask(site, **options)


def assert_heads_must_divide(mechanism: type[Mechanism], site: Site, **options: Any) -> None:
    """Assert that heads which do not divide the channels are refused at a site, and that the site itself is not."""
    asked = (replace(site, dim=10, heads=3), site)
    answers = [mechanism.why_unsupported(each, **options) for each in asked]
    assert answers == ["dim 10 does not divide into 3 heads", None], f"{answers} of {asked}"
