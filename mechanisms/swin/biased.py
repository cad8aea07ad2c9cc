"""Attention within windows, with one learned bias for all of them: the two backends, with the same output.

Both take queries, keys and values packed as the projection leaves them, and add a learned bias and the windows'
mask to the scaled scores.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

Packed: TypeAlias = Float[Tensor, "windows area 3 heads head_dim"]
Bias: TypeAlias = Float[Tensor, "heads area area"]
Mask: TypeAlias = Float[Tensor, "area area"]
Attended: TypeAlias = Float[Tensor, "windows area dim"]

CHUNK_SCORES = 2**18
"""Scores that the backward pass on a CPU aims to hold at a time: 1 MiB in float32, so that they stay in cache."""
MOST_CHUNKS = 32
"""Chunks at most, whatever the batch: a compiled graph repeats the computation for each."""


def unfused(qkv: Packed, bias: Bias, mask: Mask) -> Attended:
    """Return softmax(Q K^T / sqrt d + bias + mask) V in steps, with all the scores in memory."""
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + (bias + mask)
    attended: Attended = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    return attended


def fused(qkv: Packed, bias: Bias, mask: Mask) -> Attended:
    """Return the same by torch's fused attention, which saves no scores for the backward pass."""
    # torch 2.15 (sdp_utils_cpp.h, check_attn_mask_shape): on a CPU a mask that needs a gradient sends the call to
    # the unfused path, which saves all the scores. Goes once the CPU kernel differentiates its mask; CUDA's does.
    if bias.requires_grad and bias.device.type == "cpu":
        return _Recomputed.apply(qkv, bias, mask)  # type: ignore[no-any-return]
    return _kernel(qkv, bias + mask)


def _kernel(qkv: Packed, bias: Bias) -> Attended:
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None]).transpose(1, 2).flatten(2)


class _Recomputed(torch.autograd.Function):
    """The fused kernel forward; backward, the scores again, some windows at a time."""

    @staticmethod
    def forward(ctx: Any, qkv: Packed, bias: Bias, mask: Mask) -> Attended:  # noqa: ANN401 - torch leaves it untyped
        ctx.save_for_backward(qkv, bias, mask)
        return _kernel(qkv.detach(), bias.detach() + mask)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Attended) -> tuple[Packed, Bias, None]:  # noqa: ANN401
        qkv, bias, mask = ctx.saved_tensors
        chunk = max(1, CHUNK_SCORES // bias.numel(), -(-len(qkv) // MOST_CHUNKS))
        qkv_grad = torch.empty_like(qkv)
        bias_grad = torch.zeros_like(bias, dtype=torch.promote_types(bias.dtype, torch.float32))
        heads = grad.reshape(*grad.shape[:2], *qkv.shape[3:])
        added = bias + mask
        for part in zip(*(torch.split(whole, chunk) for whole in (qkv, heads, qkv_grad)), strict=True):
            bias_grad += _differentiate(*part, bias=added)
        return qkv_grad, bias_grad.to(bias.dtype), None


def _differentiate(
    qkv: Packed, grad: Float[Tensor, "windows area heads head_dim"], qkv_grad: Packed, *, bias: Bias
) -> Bias:
    """Write the gradients of some windows' queries, keys and values, and return that of the bias."""
    scale = qkv.shape[-1] ** -0.5
    q, k, v = qkv.permute(2, 0, 3, 1, 4).contiguous().unbind()
    q_grad, k_grad, v_grad = qkv_grad.permute(2, 0, 3, 1, 4).unbind()
    q, grad = q * scale, grad.transpose(1, 2).contiguous()
    weights = (q @ k.transpose(-2, -1)).add_(bias).softmax(-1)
    v_grad.copy_(weights.transpose(-2, -1) @ grad)
    scores_grad = (grad @ v.transpose(-2, -1)).mul_(weights)
    scores_grad.addcmul_(weights, scores_grad.sum(-1, keepdim=True), value=-1)
    q_grad.copy_((scores_grad @ k).mul_(scale))
    k_grad.copy_(scores_grad.transpose(-2, -1) @ q)
    return scores_grad.sum(0)
