"""Attention in sliding windows without windows in memory: a tile of queries against all keys that any of them sees.

The products are dense, and what is not in a query's window is masked. That multiplies more than needed, but by
matrices instead of vectors, which is many times as fast as a product per token. Tiles are taken in chunks, and the
backward pass computes each chunk's weights again.

Both passes are operators of their own, which ``torch.compile`` does not look into, and are counted by the products
that the definition needs. A gradient of the gradient is taken through ``unfolded``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from attnbench.mechanisms.sasa.tiles import Tiles, collect, gather, scatter, spread
from attnbench.mechanisms.sasa.unfolded import Bias, Heads, Packed, unfolded

CHUNK_SCORES = {"cpu": 2**17, "other": 2**22}
"""Scores that are worked on at a time on small maps: few enough for a CPU's cache, and enough to fill a GPU."""


def lean(qkv: Packed, bias: Bias) -> Heads:
    """Return softmax(q K^T / sqrt d + bias) V over each token's window, a chunk of tiles at a time."""
    if torch.compiler.is_exporting():
        return _all_at_once(qkv, bias)
    attended: Heads = torch.ops.attnbench_sasa.attend(qkv, bias)
    return attended


def _all_at_once(qkv: Packed, bias: Bias) -> Heads:
    """Return what the operator does in operators that other runtimes have: all tiles in one chunk."""
    batch, height, width, _, heads, head_dim = qkv.shape
    tiles = Tiles.of(height, width, window=bias.shape[-1])
    q, k, v = qkv.unbind(3)
    scores = _queries(q, tiles) @ gather(k, tiles.keys).transpose(1, 2)
    dense, off = spread(bias, tiles.keys), tiles.off(qkv.device)
    scores = scores.view(batch, tiles.count, *dense.shape) + dense
    if off is not None:
        scores = scores.masked_fill(off[:, None, None], torch.finfo(scores.dtype).min)
    attended = scores.softmax(-1).flatten(0, 2) @ gather(v, tiles.keys)
    rows, columns = tiles.queries.rows, tiles.queries.columns
    split = attended.view(batch, rows.count, columns.count, heads, rows.span, columns.span, head_dim)
    whole = split.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, rows.end, columns.end, heads, head_dim)
    return whole[:, :height, :width]


def _chunks(qkv: Tensor, tiles: Tiles) -> Iterator[tuple[slice, Tiles]]:
    """Yield which images, and which of their tiles, are worked on at a time."""
    heads = qkv.shape[4]
    scores = CHUNK_SCORES["cpu"] if qkv.is_cpu else max(CHUNK_SCORES["other"], qkv.numel() // 3)
    fitting = max(1, scores // (heads * tiles.products_per_tile))
    images = max(1, fitting // tiles.count)
    for first_image in range(0, len(qkv), images):
        for part in tiles.parts(fitting):
            yield slice(first_image, first_image + images), part


def _attend(qkv: Tensor, bias: Tensor) -> Tensor:
    result = _like_result(qkv, bias).zero_()
    tiles = Tiles.of(*qkv.shape[1:3], window=bias.shape[-1])
    dense = spread(bias, tiles.keys)
    for images, part in _chunks(qkv, tiles):
        q, k, v = qkv[images].unbind(3)
        weights = _weights(_queries(q, part), gather(k, part.keys), dense, part.off(q.device))
        scatter(result[images], weights @ gather(v, part.keys), part.queries)
    return result


def _attend_backward(grad: Tensor, qkv: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    qkv_grad = torch.zeros_like(qkv, memory_format=torch.contiguous_format)
    tiles = Tiles.of(*qkv.shape[1:3], window=bias.shape[-1])
    dense = spread(bias, tiles.keys)
    dense_grad = torch.zeros_like(dense, dtype=torch.promote_types(dense.dtype, torch.float32))
    for images, part in _chunks(qkv, tiles):
        q, k, v = qkv[images].unbind(3)
        q_grad, k_grad, v_grad = qkv_grad[images].unbind(3)
        queries, keys = _queries(q, part), gather(k, part.keys)
        weights = _weights(queries, keys, dense, part.off(q.device))
        arriving = gather(grad[images], part.queries)
        scatter(v_grad, weights.transpose(1, 2) @ arriving, part.keys)
        slopes = (arriving @ gather(v, part.keys).transpose(1, 2)).mul_(weights)
        slopes.addcmul_(weights, slopes.sum(-1, keepdim=True), value=-1)
        scatter(q_grad, (slopes @ keys).mul_(qkv.shape[-1] ** -0.5), part.queries)
        scatter(k_grad, slopes.transpose(1, 2) @ queries, part.keys)
        dense_grad += slopes.view(-1, *dense.shape).sum(0, dtype=dense_grad.dtype)
    return qkv_grad, collect(dense_grad, bias.shape[-1], tiles.keys).to(bias.dtype)


def _queries(q: Heads, tiles: Tiles) -> Tensor:
    """Return the scaled queries of each tile."""
    scale: float = q.shape[-1] ** -0.5
    return gather(q, tiles.queries) * scale


def _weights(queries: Tensor, keys: Tensor, bias: Tensor, off: Tensor | None) -> Tensor:
    """Return the weights of a tile's keys, (images x tiles x heads, queries, keys)."""
    scores = queries @ keys.transpose(1, 2)
    scores.view(-1, *bias.shape).add_(bias)
    if off is not None:
        # Not -inf: the last tiles may hold queries off the map, with no key on it, which would become NaN.
        scores.view(-1, len(off), *bias.shape).masked_fill_(off[:, None, None], torch.finfo(scores.dtype).min)
    return scores.softmax(-1)


def _like_result(qkv: Tensor, _bias: Tensor) -> Tensor:
    return qkv.new_empty((*qkv.shape[:3], *qkv.shape[4:]))


def _like_gradients(_grad: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in inputs)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ANN401, ARG001 - as torch calls it
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401 - as torch calls it
    qkv, bias = ctx.saved_tensors
    if torch.is_grad_enabled():  # a gradient of this gradient will be asked for
        return torch.autograd.grad(unfolded(qkv, bias), (qkv, bias), grad, create_graph=True)
    gradients: tuple[Tensor, ...] = torch.ops.attnbench_sasa.attend_backward(grad, qkv, bias)
    return gradients


def _flops(qkv: Sequence[int], bias: Sequence[int], *_rest: object, **_options: object) -> int:
    """Count two products of every token with its window."""
    batch, height, width, _, heads, head_dim = qkv
    return 2 * 2 * batch * height * width * heads * head_dim * bias[-1] ** 2


def _backward_flops(_grad: Sequence[int], *inputs: Sequence[int], **_options: object) -> int:
    """Count five such products: the scores once more, and two gradients of each product."""
    return 5 * _flops(*inputs) // 2


def _register() -> None:
    forward, backward = "attnbench_sasa::attend", "attnbench_sasa::attend_backward"
    torch.library.define(forward, "(Tensor qkv, Tensor bias) -> Tensor")
    torch.library.define(backward, "(Tensor grad, Tensor qkv, Tensor bias) -> (Tensor, Tensor)")
    torch.library.impl(forward, "default", _attend)
    torch.library.impl(backward, "default", _attend_backward)
    torch.library.register_fake(forward, _like_result)
    torch.library.register_fake(backward, _like_gradients)
    torch.library.register_autograd(forward, _differentiate, setup_context=_keep)
    register_flop_formula(torch.ops.attnbench_sasa.attend)(_flops)
    register_flop_formula(torch.ops.attnbench_sasa.attend_backward)(_backward_flops)


_register()
