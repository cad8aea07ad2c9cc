"""The selective scan: a linear recurrence along a sequence, whose coefficients depend on the tokens.

    a_t = exp(D_t A);  h_t = a_t * h_{t-1} + D_t x_t B_t^T;  y_t = h_t C_t

for each image and direction, with states h of E x S. ``chunked`` makes the coefficients of some tokens at a time, so
that no more states than theirs are in memory, and the backward pass computes them again. ``stepwise`` has all of them.

Both passes of ``chunked`` are operators of their own, which ``torch.compile`` does not look into; where a graph is
exported, ``looped`` takes its place. States are summed in float32 at least.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch._higher_order_ops.scan import scan
from torch.utils.flop_counter import register_flop_formula

Channels: TypeAlias = Float[Tensor, "tokens batch directions inner"]
Decay: TypeAlias = Float[Tensor, "directions inner states"]
Coefficients: TypeAlias = Float[Tensor, "tokens batch directions states"]
States: TypeAlias = Float[Tensor, "some batch directions inner states"]

CHUNK_STATES = 2**21
"""State entries that are in memory at a time."""
LONGEST_CHUNK = 64
"""Tokens of a chunk at most."""


def chunked(x: Channels, delta: Channels, decay: Decay, b: Coefficients, c: Coefficients) -> Channels:
    """Return y, (L, B, 4, E), a chunk of tokens at a time.

    Args:
        x: what enters.
        delta: D, how far each token moves its states, positive.
        decay: A, negative.
        b: how a token enters the states.
        c: how the states are read.
    """
    if torch.compiler.is_exporting():
        return looped(x, delta, decay, b, c)
    read: Channels = torch.ops.attnbench_ss2d.scan(x, delta, decay, b, c)
    return read


def stepwise(x: Channels, delta: Channels, decay: Decay, b: Coefficients, c: Coefficients) -> Channels:
    """Return the same in torch's own operators, with all states in memory."""
    kept, entering = _coefficients(x, delta, decay, b)
    state, states = torch.zeros_like(entering[0]), []
    for each, new in zip(kept.unbind(), entering.unbind(), strict=True):
        state = each * state + new
        states.append(state)
    return _read(torch.stack(states), c).to(x.dtype)


def looped(x: Channels, delta: Channels, decay: Decay, b: Coefficients, c: Coefficients) -> Channels:
    """Return the same as a loop that stays one in an exported graph, which is as short for any number of tokens."""

    def step(state: Tensor, token: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        kept, entering, reading = token
        # The state first: OpenVINO 2026.4 overwrites it before it is carried on where it is the second factor.
        state = state * kept + entering
        return state, (state @ reading.unsqueeze(-1)).squeeze(-1)

    kept, entering = _coefficients(x, delta, decay, b)
    read: Channels = scan(step, _first(x, decay), (kept, entering, c.to(kept.dtype)))[1]
    return read.to(x.dtype)


def _coefficients(x: Tensor, delta: Tensor, decay: Tensor, b: Tensor) -> tuple[States, States]:
    """Return a and D x B^T of some tokens."""
    exact = torch.promote_types(x.dtype, torch.float32)
    step = delta.to(exact)
    kept = torch.exp(step.unsqueeze(-1) * decay.to(exact))
    return kept, (step * x).unsqueeze(-1) * b.to(exact).unsqueeze(-2)


def _read(states: States, c: Tensor) -> Channels:
    return (states @ c.to(states.dtype).unsqueeze(-1)).squeeze(-1)


def _chunks(x: Tensor, decay: Tensor) -> list[slice]:
    """Return which tokens are worked on at a time."""
    fitting = CHUNK_STATES // (x[0].numel() * decay.shape[-1])
    length = max(1, min(LONGEST_CHUNK, fitting))
    return [slice(first, min(first + length, len(x))) for first in range(0, len(x), length)]


def _run(state: Tensor, kept: States, entering: States) -> States:
    """Return the states of some tokens, from the one before them; they take the place of what enters."""
    for each, new in zip(kept.unbind(), entering.unbind(), strict=True):
        state = new.addcmul_(each, state)
    return entering


def _first(x: Tensor, decay: Tensor) -> Tensor:
    return torch.zeros(
        *x.shape[1:], decay.shape[-1], dtype=torch.promote_types(x.dtype, torch.float32), device=x.device
    )


def _scan(x: Tensor, delta: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    read, state = torch.empty_like(x, memory_format=torch.contiguous_format), _first(x, decay)
    for part in _chunks(x, decay):
        states = _run(state, *_coefficients(x[part], delta[part], decay, b[part]))
        read[part] = _read(states, c[part])
        state = states[-1]
    return read


def _starts(x: Tensor, delta: Tensor, decay: Tensor, b: Tensor) -> Iterator[Tensor]:
    """Yield the state before each chunk."""
    state = _first(x, decay)
    for part in _chunks(x, decay):
        yield state
        state = _run(state, *_coefficients(x[part], delta[part], decay, b[part]))[-1].clone()


def _scan_backward(  # noqa: PLR0917 - as torch calls it
    grad: Tensor, x: Tensor, delta: Tensor, decay: Tensor, b: Tensor, c: Tensor
) -> tuple[Tensor, ...]:
    grads = [torch.empty_like(each, memory_format=torch.contiguous_format) for each in (x, delta, b, c)]
    later = _first(x, decay)  # what the tokens after a chunk ask of its last state
    exact = later.dtype
    decay_grad = torch.zeros_like(decay, dtype=exact)
    for part, start in reversed(list(zip(_chunks(x, decay), _starts(x, delta, decay, b), strict=True))):
        kept, entering = _coefficients(x[part], delta[part], decay, b[part])
        states = _run(start, kept, entering)
        arriving, step, given = grad[part].to(exact), delta[part].to(exact), x[part].to(exact)
        asked = arriving.unsqueeze(-1) * c[part].to(exact).unsqueeze(-2)
        asked[-1] += later
        for token in range(len(asked) - 2, -1, -1):
            asked[token].addcmul_(kept[token + 1], asked[token + 1])
        later = kept[0] * asked[0]
        before = torch.cat([start[None], states[:-1]])
        exponent = kept.mul_(asked).mul_(before)
        decay_grad += (exponent * step.unsqueeze(-1)).sum((0, 1))
        entered = (asked @ b[part].to(exact).unsqueeze(-1)).squeeze(-1)
        found = (
            entered * step,
            (exponent * decay.to(exact)).sum(-1) + entered * given,
            ((step * given).unsqueeze(-2) @ asked).squeeze(-2),
            (arriving.unsqueeze(-2) @ states).squeeze(-2),
        )
        for whole, piece in zip(grads, found, strict=True):
            whole[part] = piece
    return grads[0], grads[1], decay_grad.to(decay.dtype), grads[2], grads[3]


def _like_result(x: Tensor, *_: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _like_gradients(_grad: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(each, memory_format=torch.contiguous_format) for each in inputs)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ANN401, ARG001 - as torch calls it
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401 - as torch calls it
    gradients: tuple[Tensor, ...] = torch.ops.attnbench_ss2d.scan_backward(grad, *ctx.saved_tensors)
    return gradients


def _flops(x: Sequence[int], _delta: object, decay: Sequence[int], *_rest: object, **_options: object) -> int:
    """Count one multiply-add of every state entry to carry it on, and one to read it."""
    tokens, batch, directions, inner = x
    return 2 * 2 * tokens * batch * directions * inner * decay[-1]


def _backward_flops(_grad: object, *inputs: Any, **_options: object) -> int:  # noqa: ANN401
    """Count the states once more, their adjoints, and a product for the gradient of each factor of both."""
    return 3 * _flops(*inputs)


def _register() -> None:
    forward, backward = "attnbench_ss2d::scan", "attnbench_ss2d::scan_backward"
    taken = "Tensor x, Tensor delta, Tensor decay, Tensor b, Tensor c"
    torch.library.define(forward, f"({taken}) -> Tensor")
    torch.library.define(backward, f"(Tensor grad, {taken}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)")
    torch.library.impl(forward, "default", _scan)
    torch.library.impl(backward, "default", _scan_backward)
    torch.library.register_fake(forward, _like_result)
    torch.library.register_fake(backward, _like_gradients)
    torch.library.register_autograd(forward, _differentiate, setup_context=_keep)
    register_flop_formula(torch.ops.attnbench_ss2d.scan)(_flops)
    register_flop_formula(torch.ops.attnbench_ss2d.scan_backward)(_backward_flops)


_register()
