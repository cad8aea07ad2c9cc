"""FlexAttention of torch's, compiled: attention under a rule that is a formula, made into a kernel for each shape.

Windows are the images of a batch, with a bias for each kind. In a map whose tokens attend to what is around them,
blocks of keys that no query of a block sees are left out by a mask of blocks, which follows from the geometry and is
kept; the bias is read from its table within the kernel.

It infers only: there is no backward pass on a CPU, and none is offered elsewhere. It knows no float64. Both are
operators of their own, which ``torch.compile`` does not look into, and are counted by the products that the definition
needs, whatever blocks are multiplied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import count
from types import FunctionType
from typing import Any, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

Packed: TypeAlias = Float[Tensor, "3 batch heads tokens head_dim"]
Heads: TypeAlias = Float[Tensor, "batch heads tokens head_dim"]
Compiled: TypeAlias = Callable[..., Tensor]

BLOCK = 128
"""Queries, and keys, of a block that is multiplied or left out."""
MOST_KEPT = 64
"""Compiled kernels, and masks of blocks, that are kept at a time."""
_numbers = count()


class Around(NamedTuple):
    """Which tokens of a map each of them attends to: a window on each side, its first key and the steps to the next.

    Example:
        >>> Around(side=(1, 5), window=(1, 3), dilation=(1, 1), inward=True).first(1).tolist()
        [0, 0, 1, 2, 2]
    """

    side: tuple[int, int]
    """Tokens down and across."""
    window: tuple[int, int]
    """Keys of a token down and across."""
    dilation: tuple[int, int]
    """Tokens from one key to the next."""
    inward: bool
    """Whether the window moves inward at the border, so that it is whole; otherwise what is off the map is left out."""

    def first(self, axis: int) -> Int[Tensor, " length"]:
        """Return the first key of every token of a side; it may lie before the side's begin."""
        length, window, step = self.side[axis], self.window[axis], self.dilation[axis]
        token = torch.arange(length)
        group, place = token % step, token // step
        start = place - window // 2
        if self.inward:
            start = torch.minimum(start.clamp(min=0), (length - group + step - 1) // step - window)
        return group + step * start


def may(q: Tensor) -> bool:
    """Return whether it takes queries: it knows neither float64 nor the operators that are exported."""
    return q.dtype is not torch.float64 and not torch.compiler.is_exporting()


def in_windows(qkv: Packed, bias: Float[Tensor, "kinds heads tokens tokens"], kind: Int[Tensor, " batch"]) -> Heads:
    """Return softmax(q k^T / sqrt d + bias of the window's kind) v for windows, each an image of a batch."""
    attended: Heads = torch.ops.attnbench_flex.windows(*qkv.unbind(), bias, kind)
    return attended


def in_map(qkv: Packed, table: Float[Tensor, "heads down across"], around: Around) -> Heads:
    """Return the same for the tokens of a map, row by row, each with those around it.

    Args:
        qkv: queries, keys and values.
        table: biases by the offset from query to key in steps of the dilation, with that of 0 in the middle.
        around: who attends to whom.
    """
    attended: Heads = torch.ops.attnbench_flex.around(*qkv.unbind(), table, *around)
    return attended


def _own(call: Callable[..., Tensor]) -> Compiled:
    """Compile a function with a code object of its own: torch keeps few kernels for one, and then none are compiled."""
    code = call.__code__.replace(co_name=f"attend_{next(_numbers)}")
    return torch.compile(FunctionType(code, globals(), closure=call.__closure__), dynamic=False, fullgraph=True)


def _windows_kernel_of(flex: Compiled) -> Compiled:
    return lambda q, k, v, bias, kind: flex(q, k, v, score_mod=lambda score, b, h, i, j: score + bias[kind[b], h, i, j])


def _around_kernel_of(flex: Compiled, around: Around, rows: int, columns: int) -> Compiled:
    width, (down, across) = around.side[1], around.dilation
    return lambda q, k, v, table, mask: flex(
        q, k, v, block_mask=mask,
        score_mod=lambda score, _b, h, i, j: score + table[
            h,
            ((j // width - i // width) // down + rows // 2).clamp(0, rows - 1),
            ((j % width - i % width) // across + columns // 2).clamp(0, columns - 1),
        ],
    )  # fmt: skip


@lru_cache(MOST_KEPT)
def _windows_kernel(*_of: object) -> Compiled:
    from torch.nn.attention.flex_attention import flex_attention  # noqa: PLC0415 - slow to import

    return _own(_windows_kernel_of(flex_attention))


@lru_cache(MOST_KEPT)
def _around_kernel(around: Around, rows: int, columns: int, *_of: object) -> Compiled:
    from torch.nn.attention.flex_attention import flex_attention  # noqa: PLC0415 - slow to import

    return _own(_around_kernel_of(flex_attention, around, rows, columns))


@lru_cache(MOST_KEPT)
def _blocks(around: Around, device: torch.device) -> Any:  # noqa: ANN401 - slow to import
    """Return which blocks of keys each block of queries sees, whole or in part, and who sees whom in the latter."""
    from torch.nn.attention.flex_attention import BlockMask  # noqa: PLC0415 - slow to import

    tokens, width = around.side[0] * around.side[1], around.side[1]
    firsts = [around.first(axis).to(device, torch.int32) for axis in (0, 1)]

    def seen(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:  # noqa: ARG001 - as torch calls it
        down, across = j // width - firsts[0][i // width], j % width - firsts[1][i % width]
        found = (down >= 0) & (down < around.window[0] * around.dilation[0]) & (down % around.dilation[0] == 0)
        found = found & (across >= 0) & (across < around.window[1] * around.dilation[1])
        return found & (across % around.dilation[1] == 0)

    blocks = -(-tokens // BLOCK)
    key = torch.arange(tokens, device=device)
    some, whole = [], []
    for first in range(0, tokens, BLOCK):
        query = torch.arange(first, min(first + BLOCK, tokens), device=device)[:, None]
        held = torch.zeros(len(query), blocks * BLOCK, dtype=torch.bool, device=device)
        held[:, :tokens] = seen(key, key, query, key)
        tiles = held.view(len(query), blocks, BLOCK)
        whole.append(tiles.all(2).all(0) if len(query) == BLOCK else torch.zeros_like(tiles[0, :, 0]))
        some.append(tiles.any(2).any(0) & ~whole[-1])
    return BlockMask.from_kv_blocks(
        *_listed(torch.stack(some)), *_listed(torch.stack(whole)), BLOCK_SIZE=BLOCK, mask_mod=seen,
        seq_lengths=(tokens, tokens),
    )  # fmt: skip


def _listed(taken: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many blocks of each row are taken and which, those first, as torch wants them for all images."""
    return taken.sum(1, dtype=torch.int32)[None, None], (~taken).int().argsort(dim=1, stable=True).int()[None, None]


def _windows(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, kind: Tensor) -> Tensor:
    return _windows_kernel(*_shape(q), tuple(bias.shape))(q, k, v, bias, kind)


def _around(  # noqa: PLR0917 - as torch calls it
    q: Tensor, k: Tensor, v: Tensor, table: Tensor, side: Sequence[int], window: Sequence[int],
    dilation: Sequence[int], inward: bool,
) -> Tensor:  # fmt: skip
    (height, width), (rows, columns), (down, across) = side, window, dilation
    around = Around((height, width), (rows, columns), (down, across), inward)
    kernel = _around_kernel(around, *table.shape[1:], *_shape(q))
    return kernel(q, k, v, table, _blocks(around, q.device))


def _shape(q: Tensor) -> tuple[object, ...]:
    """Return what a kernel is made for besides its rule; the threads are written into one for a CPU."""
    return (tuple(q.shape), q.dtype, q.device, torch.get_num_threads())


def _like_result(q: Tensor, *_: Any) -> Tensor:  # noqa: ANN401 - as torch calls it
    return torch.empty_like(q, memory_format=torch.contiguous_format)


def _windows_flops(q: Sequence[int], *_: Any, **_options: object) -> int:  # noqa: ANN401
    """Count two products of every token with those of its window."""
    batch, heads, tokens, head_dim = q
    return 2 * 2 * batch * heads * tokens * tokens * head_dim


def _around_flops(q: Sequence[int], *rest: Any, **_options: object) -> int:  # noqa: ANN401
    """Count two products of every token with its window, what of that is off the map included."""
    batch, heads, tokens, head_dim = q
    rows, columns = rest[4]
    return 2 * 2 * batch * heads * tokens * int(rows * columns) * head_dim


def _register() -> None:
    taken = "Tensor q, Tensor k, Tensor v"
    geometry = "int[] side, int[] window, int[] dilation, bool inward"
    for name, more, call, flops in (
        ("windows", "Tensor bias, Tensor kind", _windows, _windows_flops),
        ("around", f"Tensor table, {geometry}", _around, _around_flops),
    ):
        torch.library.define(f"attnbench_flex::{name}", f"({taken}, {more}) -> Tensor")
        torch.library.impl(f"attnbench_flex::{name}", "default", call)
        torch.library.register_fake(f"attnbench_flex::{name}", _like_result)
        register_flop_formula(getattr(torch.ops.attnbench_flex, name))(flops)


_register()
