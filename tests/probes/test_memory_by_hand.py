"""Memory of one layer of each mechanism, against the tensors that it holds, named and counted by hand.

A count is a list of everything that lives at one moment beyond parameters and input, in bytes of float32. The sizes
follow from shapes: what each step of the layer makes, and which of it the step's gradient needs. Which moment holds
the most was read from a trace once. Where the moment depends on sizes or threads, both candidates are written down and
the larger one counts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from attnbench.mechanism import Site
from attnbench.mechanisms.hmhsa import HMHSA
from attnbench.mechanisms.lavit import LessAttention
from attnbench.mechanisms.mhsa import MHSA
from attnbench.mechanisms.qna import QnA
from attnbench.mechanisms.swin import ShiftedWindowAttention
from attnbench.probes.memory import peak, saved_for_backward

FLOAT, FLAG = 4, 1
NUMBER = 8
"""A Python number that a product keeps for its gradient, as a tensor of one double: no saved tensor, yet live."""

SITES = {
    784: Site(height=28, width=28, dim=192, heads=6, stride=8),
    3136: Site(height=56, width=56, dim=96, heads=3, stride=4),
}

Tensors = dict[str, int]
"""What lives at one moment: bytes by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """The bytes of a layer."""

    saved: int
    inference: int
    training: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Bytes of what the layers are made of."""

    site: Site
    threads: int

    @property
    def map(self) -> int:
        """A number for each token and channel."""
        return FLOAT * self.site.tokens * self.site.dim

    @property
    def per_token(self) -> int:
        """A number for each token."""
        return FLOAT * self.site.tokens

    @property
    def per_row(self) -> int:
        """A number for each token and head: for each row of scores."""
        return FLOAT * self.site.tokens * self.site.heads

    @property
    def matrix(self) -> int:
        """A weight of C x C."""
        return FLOAT * self.site.dim**2

    @property
    def vector(self) -> int:
        """A number for each channel."""
        return FLOAT * self.site.dim

    def scores(self, keys: int) -> int:
        """A number for each token, head and key."""
        return self.per_row * keys

    def tiles(self, keys: int) -> int:
        """What each thread of the fused kernel works in, forward: 256 rows of at most 512 keys, two sums, a result."""
        return self.threads * 256 * (min(512, keys) + 2 + self.site.head_dim) * FLOAT

    def tiles_of_gradients(self, keys: int) -> int:
        """The same, backward: scores and their gradients. Of the sums of a block, only the calling thread's is seen."""
        return self.threads * 256 * 2 * min(512, keys) * FLOAT + 256 * FLOAT


def total(tensors: Tensors) -> int:
    return sum(tensors.values())


def without(tensors: Tensors, *released: str) -> Tensors:
    assert set(released) <= set(tensors)
    return {name: size for name, size in tensors.items() if name not in released}


def fused_mhsa(of: Sizes) -> Count:
    keys = of.site.tokens
    saved = {
        "mean and deviation of each token": 2 * of.per_token,
        "normed": of.map,
        "queries, keys, values": 3 * of.map,
        "attended": of.map,
        "log of each row's sum": of.per_row,
    }
    in_kernel = {
        "queries, keys, values": 3 * of.map,
        "attended": of.map,
        "log of each row's sum": of.per_row,
        "tiles": of.tiles(keys),
    }
    projecting = {"queries, keys, values": 3 * of.map, "attended": of.map, "output": of.map}
    in_kernel_backward = {
        **saved,
        "output and its gradient": 2 * of.map,
        "gradient of the projection": of.matrix + of.vector,
        "gradient of attended": of.map,
        "gradients of queries, keys, values": 3 * of.map,
        "tiles": of.tiles_of_gradients(keys),
    }
    return Count(
        saved=total(saved),
        inference=max(total(in_kernel), total(projecting)),
        training=total(in_kernel_backward),
    )


def unfused_mhsa(of: Sizes) -> Count:
    scores = of.scores(of.site.tokens)
    saved = {
        "mean and deviation of each token": 2 * of.per_token,
        "normed": of.map,
        "queries, keys, values": 3 * of.map,
        "queries, scaled": of.map,
        "probabilities": scores,
        "attended, heads side by side": of.map,
    }
    summing_values = {
        "queries, keys, values": 3 * of.map,
        "scores": scores,
        "probabilities": scores,
        "attended": of.map,
    }
    through_softmax = {
        **without(saved, "attended, heads side by side"),
        "the scale": NUMBER,
        "output and its gradient": 2 * of.map,
        "gradient of the projection": of.matrix + of.vector,
        "gradient of values": of.map,
        "gradient of probabilities": scores,
        "gradient of scores": scores,
    }
    return Count(saved=total(saved), inference=total(summing_values), training=total(through_softmax))


def fused_swin(of: Sizes) -> Count:
    area = 7 * 7
    bias = FLOAT * of.site.heads * area**2
    saved = {
        "mean and deviation of each token": 2 * of.per_token,
        "normed, by window": of.map,
        "queries, keys, values": 3 * of.map,
        "bias": bias,
        "attended": of.map,
    }
    in_kernel = {
        "queries, keys, values": 3 * of.map,
        "bias": bias,
        "bias with mask": bias,
        "attended": of.map,
        "log of each row's sum": of.per_row,
        "tiles": of.tiles(area) * 32 // 256,  # fewer than 192 queries are taken 32 rows at a time
    }
    windows = of.site.tokens // area
    chunk = min(windows, 2**17 // (of.site.heads * area**2))  # windows differentiated at a time
    part, scores = of.map * chunk // windows, of.scores(area) * chunk // windows
    differentiating = {
        **without(saved, "attended"),
        "output and its gradient": 2 * of.map,
        "gradient of the projection": of.matrix + of.vector,
        "gradient of attended": of.map,
        "gradients of queries, keys, values": 3 * of.map,
        "gradient of the bias": bias,
        "bias with mask": bias,
        "queries, keys, values of a chunk": 3 * part,
        "its gradient, head by head": part,
        "its probabilities": scores,
        "gradient of its scores": scores,
        "gradient of the bias in it": bias,
    }
    return Count(saved=total(saved), inference=total(in_kernel), training=total(differentiating))


def unfused_swin(of: Sizes) -> Count:
    area = 7 * 7
    bias, scores = FLOAT * of.site.heads * area**2, of.scores(area)
    # Windows and heads are one axis of the products: queries, keys and values are copied for it.
    saved = {
        "mean and deviation of each token": 2 * of.per_token,
        "normed, by window": of.map,
        "queries, scaled": of.map,
        "keys": of.map,
        "probabilities": scores,
        "values": of.map,
        "attended": of.map,
    }
    summing_values = {
        "queries, keys, values": 3 * of.map,
        "bias": bias,
        "scores": scores,
        "probabilities": scores,
        "values": of.map,
        "attended, by head": of.map,
    }
    heads_side_by_side = {
        **saved,
        "the scale": NUMBER,
        "queries, keys, values": 3 * of.map,
        "bias": bias,
        "scores": scores,
        "attended, by head": of.map,
    }
    return Count(saved=total(saved), inference=total(summing_values), training=total(heads_side_by_side))


def hmhsa(of: Sizes) -> Count:
    pools = 7 * 7
    pooled = FLOAT * pools * of.site.dim
    mean_and_deviation = 2 * FLOAT  # of the whole map
    saved = {
        "mean and deviation": mean_and_deviation,
        "normed, by grid": of.map,
        "queries, keys, values": 3 * of.map,
        "attended in grids": of.map,
        "log of each row's sum": of.per_row,
        "map with what was attended in grids": of.map,
        "mean and deviation of that": mean_and_deviation,
        "that, normed": of.map,
        "pooled": pooled,
        "mean and deviation of pooled": mean_and_deviation,
        "pooled, normed": pooled,
        "queries for the pools": of.map,
        "keys, values of the pools": 2 * pooled,
        "attended in pools": of.map,
        "log of each row's sum over pools": of.per_row,
        "attended in grids and in pools": of.map,
    }
    joining_grids = {
        "normed": of.map,
        "normed, by grid": of.map,
        "queries, keys, values": 3 * of.map,
        "attended in grids": of.map,
        "attended, row by row": of.map,
    }
    in_kernel_backward = {
        **without(saved, "attended in grids and in pools"),
        "output and its gradient": 2 * of.map,
        "gradient of the projection": of.matrix + of.vector,
        "gradient of attended": of.map,
        "gradient of queries for the pools": of.map,
        "gradients of keys, values of the pools": 2 * pooled,
        "tiles": of.tiles_of_gradients(pools),
    }
    return Count(saved=total(saved), inference=total(joining_grids), training=total(in_kernel_backward))


def qna(of: Sizes) -> Count:
    queries, offsets = 2, 3 * 3
    heads, per_query_and_head = of.site.heads, FLOAT * queries * of.site.heads
    scores, far = queries * of.per_row, FLAG * queries * of.site.tokens * heads
    kernel = per_query_and_head * offsets
    saved = {
        "mean and deviation of each token": 2 * of.per_token,
        "normed": of.map,
        "values": of.map,
        "norm of each query, and what it is divided by": 2 * per_query_and_head,
        "unit queries": queries * of.vector,
        "queries folded into keys": queries * heads * of.vector,
        "scores": scores,
        "exponentials": scores,
        "exponentials of the biases": kernel,
        "far windows": far,
        "one over each denominator": scores,
        "exponentials times values, query by query": queries * of.map,
        "their kernels": queries * offsets * of.vector,
        "their sums over windows": queries * of.map,
        "attended": of.map,
    }
    sliding = {
        "normed": of.map,
        "values": of.map,
        "scores": scores,
        "best score, highest and lowest bias, least denominator": 4 * per_query_and_head,
        "exponentials": scores,
        "exponentials of the biases, and those scaled": 2 * kernel,
        "denominators": scores,
        "one over each denominator": scores,
        "far windows": far,
        "exponentials times values": of.map,
        "their kernel, and as the convolution lays it out": 2 * offsets * of.vector,
        "their sums over windows": of.map,
        "attended": of.map,
    }
    subtracting_a_query = {
        **without(saved, "attended"),
        "the scale": NUMBER,
        "output and its gradient": 2 * of.map,
        "gradient of the projection": of.matrix,
        "gradient of attended": of.map,
        "gradient of the sums over windows": of.map,
        "those sums once more": of.map,
        "their product with the gradient": of.map,
    }
    return Count(saved=total(saved), inference=total(sliding), training=total(subtracting_a_query))


def lavit(of: Sizes) -> Count:
    keys = 7 * 7  # one for a patch of r x r tokens
    patch = of.site.tokens // keys
    reduced, scores = FLOAT * keys * of.site.dim, of.scores(keys)
    weight = of.matrix * patch
    saved = {
        "mean and deviation of each token": 2 * of.per_token,
        "normed": of.map,
        "normed, patch by patch": of.map,
        "weight, channels last": weight,
        "patches": reduced,
        "mean and deviation of each patch": 2 * FLOAT * keys,
        "patches, normed": reduced,
        "keys": reduced,
        "values": reduced,
        "queries, scaled": of.map,
        "probabilities": scores,
        "attended, heads side by side": of.map,
    }
    reducing = {
        "normed": of.map,
        "normed, patch by patch": of.map,
        "weight, channels last": weight,
        "patches": reduced,
    }
    summing_values = {
        "normed": of.map,
        "patches, normed": reduced,
        "keys": reduced,
        "values": reduced,
        "queries": of.map,
        "scores": scores,
        "probabilities": scores,
        "attended": of.map,
    }
    through_softmax = {
        **without(saved, "attended, heads side by side", "values"),
        "the scale": NUMBER,
        "output and its gradient": 2 * of.map,
        "gradient of the projection": of.matrix + of.vector,
        "gradient of values": reduced,
        "gradient of probabilities": scores,
        "gradient of scores": scores,
    }
    return Count(
        saved=total(saved),
        inference=max(total(reducing), total(summing_values)),
        training=total(through_softmax),
    )


LAYERS: dict[str, tuple[Callable[[Site], nn.Module], Callable[[Sizes], Count]]] = {
    "mhsa, sdpa": (MHSA, fused_mhsa),
    "mhsa, unfused": (lambda site: MHSA(site, backend="unfused"), unfused_mhsa),
    "swin, sdpa": (ShiftedWindowAttention, fused_swin),
    "swin, unfused": (lambda site: ShiftedWindowAttention(site, backend="unfused"), unfused_swin),
    "hmhsa": (HMHSA, hmhsa),
    "qna": (QnA, qna),
    "lavit": (LessAttention, lavit),
}


def measured(build: Callable[[Site], nn.Module], site: Site) -> Count:
    layer = build(site)
    x = torch.randn(1, site.height, site.width, site.dim, requires_grad=True)

    def forget() -> None:
        layer.zero_grad(set_to_none=True)
        x.grad = None

    @torch.inference_mode()
    def infer() -> Tensor:
        return layer(x)

    def train() -> Tensor:
        forget()
        y = layer(x)
        y.backward(torch.ones_like(y))
        return y

    return Count(
        saved=saved_for_backward(lambda: layer(x), exclude=[x, *layer.parameters(), *layer.buffers()]),
        inference=peak(infer, device="cpu").peak_bytes,
        training=peak(train, device="cpu", forget=forget).peak_bytes,
    )


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(("tokens", "threads"), [(784, 1), (784, 2), (3136, 1)], indirect=["threads"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_holds_what_is_counted_whatever_the_threads(name, tokens, threads):
    build, count = LAYERS[name]
    found, counted = measured(build, SITES[tokens]), count(Sizes(site=SITES[tokens], threads=threads))
    assert found == counted


@pytest.mark.parametrize("name", LAYERS)
def test_measuring_again_finds_the_same(name):
    build, _ = LAYERS[name]
    assert measured(build, SITES[784]) == measured(build, SITES[784])
