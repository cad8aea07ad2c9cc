"""Attention to neighbours without copies of them for each token: a tile of queries against all keys any of them sees.

The products are dense, and what is not in a query's window is masked, as in ``attnbench.mechanisms.sasa.lean``. Tiles
are taken in chunks, and the backward pass computes each chunk's weights again.

Both passes are operators of their own, which ``torch.compile`` does not look into, and are counted by the products
that the definition needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

Packed: TypeAlias = Float[Tensor, "images rows 3 heads head_dim"]
Heads: TypeAlias = Float[Tensor, "images rows heads head_dim"]
Table: TypeAlias = Float[Tensor, "heads span span"]
Queries: TypeAlias = Int[Tensor, "tiles queries"]
Keys: TypeAlias = Int[Tensor, "tiles keys"]

CHUNK_SCORES = {"cpu": 2**17, "other": 2**22}
"""Scores that are worked on at a time: few enough for a CPU's cache, and enough to fill a GPU."""


def lean(
    qkv: Packed,
    table: Table,
    *,
    queries: Queries,
    keys: Keys,
    place: Tensor,
    offsets: Tensor,
    counts: list[int],
    area: int,
) -> Heads:
    """Return softmax(q K^T / sqrt d + B) V over each token's window, a chunk of tiles at a time."""
    if torch.compiler.is_exporting():
        return _all_at_once(qkv, spread(table, offsets), queries, keys, counts).index_select(1, place)
    attended: Heads = torch.ops.attnbench_nat.attend(qkv, table, queries, keys, place, offsets, counts, area)
    return attended


def _all_at_once(qkv: Packed, bias: Tensor, queries: Queries, keys: Keys, counts: list[int]) -> Heads:
    """Return what the operator does in operators that other runtimes have: all tiles of a kind in one chunk."""
    q, k, v = qkv.unbind(2)
    found, first = [], 0
    for kind, count in enumerate(counts):
        asked, sought = queries[first : first + count], keys[first : first + count]
        scores = _tiled(q * qkv.shape[-1] ** -0.5, asked) @ _tiled(k, sought).transpose(-2, -1)
        found.append(_flat((scores + bias[:, kind]).softmax(-1) @ _tiled(v, sought)))
        first += count
    return torch.cat(found, 1)


def spread(table: Table, offsets: Tensor) -> Float[Tensor, "heads kinds queries keys"]:
    """Return the bias of every kind of tile, -inf where a key is in no window of a query."""
    return F.pad(table.flatten(1), (0, 1), value=-torch.inf)[:, offsets]


def _chunks(qkv: Tensor, offsets: Tensor, counts: Sequence[int]) -> Iterator[tuple[slice, int, slice]]:
    """Yield which images, of which kind, and which tiles are worked on at a time."""
    pairs = offsets[0].numel() * qkv.shape[3]
    fitting = max(1, CHUNK_SCORES["cpu" if qkv.is_cpu else "other"] // pairs)
    first = 0
    for kind, count in enumerate(counts):
        images = max(1, fitting // count)
        for image in range(0, len(qkv), images):
            for tile in range(first, first + count, fitting):
                yield slice(image, image + images), kind, slice(tile, min(tile + fitting, first + count))
        first += count


def _tiled(maps: Heads, tiles: Tensor) -> Float[Tensor, "images tiles heads places head_dim"]:
    """Return the tokens of tiles, head by head."""
    taken = maps.index_select(1, tiles.flatten())
    return taken.view(len(maps), *tiles.shape, *maps.shape[2:]).transpose(2, 3)


def _flat(pieces: Tensor) -> Heads:
    """Return the tokens of tiles one after the other."""
    return pieces.transpose(2, 3).flatten(1, 2)


def _weights(q: Tensor, k: Tensor, bias: Tensor) -> Tensor:
    scores = q @ k.transpose(-2, -1)
    return scores.add_(bias).softmax(-1)


def _attend(  # noqa: PLR0917 - as torch calls it
    qkv: Tensor, table: Tensor, queries: Tensor, keys: Tensor, place: Tensor, offsets: Tensor, counts: Sequence[int],
    area: int,  # noqa: ARG001 - for the counter
) -> Tensor:  # fmt: skip
    bias, scale = spread(table, offsets), qkv.shape[-1] ** -0.5
    found = qkv.new_empty(len(qkv), queries.numel(), *qkv.shape[3:])
    tile = queries.shape[1]
    for images, kind, tiles in _chunks(qkv, offsets, counts):
        q, k, v = qkv[images].unbind(2)
        weights = _weights(_tiled(q, queries[tiles]) * scale, _tiled(k, keys[tiles]), bias[:, kind])
        found[images, tiles.start * tile : tiles.stop * tile] = _flat(weights @ _tiled(v, keys[tiles]))
    return found.index_select(1, place)


def _attend_backward(  # noqa: PLR0917 - as torch calls it
    grad: Tensor, qkv: Tensor, table: Tensor, queries: Tensor, keys: Tensor, place: Tensor, offsets: Tensor,
    counts: Sequence[int], area: int,  # noqa: ARG001 - for the counter
) -> tuple[Tensor, Tensor]:  # fmt: skip
    bias, scale = spread(table, offsets), qkv.shape[-1] ** -0.5
    exact = torch.promote_types(qkv.dtype, torch.float32)
    qkv_grad = torch.zeros(qkv.shape, dtype=exact, device=qkv.device)
    bias_grad = torch.zeros_like(bias, dtype=exact)
    # Places that no token of the map has are left at zero, so that nothing comes back from them.
    arriving_at = torch.zeros(len(qkv), queries.numel(), *qkv.shape[3:], dtype=grad.dtype, device=grad.device)
    arriving_at[:, place] = grad
    tile = queries.shape[1]
    for images, kind, tiles in _chunks(qkv, offsets, counts):
        q, k, v = qkv[images].unbind(2)
        q_grad, k_grad, v_grad = qkv_grad[images].unbind(2)
        asked, sought, held = _tiled(q, queries[tiles]) * scale, _tiled(k, keys[tiles]), _tiled(v, keys[tiles])
        weights = _weights(asked, sought, bias[:, kind])
        arrived = arriving_at[images, tiles.start * tile : tiles.stop * tile]
        arriving = arrived.view(len(arrived), -1, tile, *qkv.shape[3:]).transpose(2, 3)
        slopes = (arriving @ held.transpose(-2, -1)).mul_(weights)
        slopes.addcmul_(weights, slopes.sum(-1, keepdim=True), value=-1)
        v_grad.index_add_(1, keys[tiles].flatten(), _flat(weights.transpose(-2, -1) @ arriving).to(exact))
        q_grad.index_add_(1, queries[tiles].flatten(), _flat((slopes @ sought).mul_(scale)).to(exact))
        k_grad.index_add_(1, keys[tiles].flatten(), _flat(slopes.transpose(-2, -1) @ asked).to(exact))
        bias_grad[:, kind] += slopes.sum((0, 1), dtype=exact)
    entries = torch.zeros(len(table), table[0].numel() + 1, dtype=exact, device=table.device)
    entries.index_add_(1, offsets.flatten(), bias_grad.flatten(1))
    return qkv_grad.to(qkv.dtype), entries[:, :-1].reshape(table.shape).to(table.dtype)


def _like_result(qkv: Tensor, *_: Any) -> Tensor:  # noqa: ANN401 - as torch calls it
    return qkv.new_empty((*qkv.shape[:2], *qkv.shape[3:]))


def _like_gradients(_grad: Tensor, qkv: Tensor, table: Tensor, *_: Any) -> tuple[Tensor, ...]:  # noqa: ANN401
    return tuple(torch.empty_like(each, memory_format=torch.contiguous_format) for each in (qkv, table))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401, ARG001 - as torch calls it
    ctx.save_for_backward(*inputs[:6])
    ctx.rest = inputs[6:]


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - as torch calls it
    gradients = torch.ops.attnbench_nat.attend_backward(grad, *ctx.saved_tensors, *ctx.rest)
    return (*gradients, None, None, None, None, None, None)


def _flops(qkv: Sequence[int], *rest: Any, **_options: object) -> int:  # noqa: ANN401
    """Count two products of every token with its window."""
    batch, tokens, _, heads, head_dim = qkv
    return 2 * 2 * batch * tokens * heads * head_dim * int(rest[-1])


def _backward_flops(_grad: Sequence[int], *inputs: Any, **_options: object) -> int:  # noqa: ANN401
    """Count five such products: the scores once more, and two gradients of each product."""
    return 5 * _flops(*inputs) // 2


def _register() -> None:
    forward, backward = "attnbench_nat::attend", "attnbench_nat::attend_backward"
    taken = (
        "Tensor qkv, Tensor table, Tensor queries, Tensor keys, Tensor place, Tensor offsets, int[] counts, int area"
    )
    torch.library.define(forward, f"({taken}) -> Tensor")
    torch.library.define(backward, f"(Tensor grad, {taken}) -> (Tensor, Tensor)")
    torch.library.impl(forward, "default", _attend)
    torch.library.impl(backward, "default", _attend_backward)
    torch.library.register_fake(forward, _like_result)
    torch.library.register_fake(backward, _like_gradients)
    torch.library.register_autograd(forward, _differentiate, setup_context=_keep)
    register_flop_formula(torch.ops.attnbench_nat.attend)(_flops)
    register_flop_formula(torch.ops.attnbench_nat.attend_backward)(_backward_flops)


_register()
