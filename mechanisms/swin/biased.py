"""Attention within windows, with one learned bias for all of them: the two backends, with the same output.

Both take queries, keys and values packed as the projection leaves them, and add a learned bias and the windows'
mask to the scaled scores. Windows of a kind, which need the same mask, lie together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

Packed: TypeAlias = Float[Tensor, "windows area 3 heads head_dim"]
Bias: TypeAlias = Float[Tensor, "heads area area"]
Mask: TypeAlias = Float[Tensor, "area area"]
Masks: TypeAlias = Float[Tensor, "kinds area area"]
Attended: TypeAlias = Float[Tensor, "windows area dim"]

CHUNK_SCORES = 2**17
"""Scores that the backward pass on a CPU aims to hold at a time: 512 KiB in float32, so that they stay in cache."""
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
    return fused_by_kind(qkv, bias, mask[None], (len(qkv),))


def unfused_by_kind(qkv: Packed, bias: Bias, masks: Masks, counts: Sequence[int]) -> Attended:
    """Return ``unfused`` of so many windows of each kind, kind after kind, each with its mask."""
    return _joined([unfused(*kind) for kind in _kinds(qkv, bias, masks, counts)])


def fused_by_kind(qkv: Packed, bias: Bias, masks: Masks, counts: Sequence[int]) -> Attended:
    """Return ``fused`` of so many windows of each kind, kind after kind, each with its mask."""
    # torch 2.15 (sdp_utils_cpp.h, check_attn_mask_shape): on a CPU a mask that needs a gradient sends the call to
    # the unfused path, which saves all the scores. Goes once the CPU kernel differentiates its mask; CUDA's does.
    if bias.requires_grad and bias.device.type == "cpu":
        return _Recomputed.apply(qkv, bias, masks, counts)  # type: ignore[no-any-return]
    return _kernels(qkv, bias, masks, counts)


def _kinds(qkv: Packed, bias: Bias, masks: Masks, counts: Sequence[int]) -> list[tuple[Tensor, Bias, Mask]]:
    # A single kind is not split: the backward pass of a split copies the gradient of the whole.
    kinds = [qkv] if len(counts) == 1 else torch.split(qkv, list(counts))
    return [(kind, bias, mask) for kind, mask in zip(kinds, masks.unbind(), strict=True)]


def _joined(parts: Sequence[Tensor]) -> Attended:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _kernels(qkv: Packed, bias: Bias, masks: Masks, counts: Sequence[int]) -> Attended:
    return _joined([_kernel(kind, bias + mask) for kind, bias, mask in _kinds(qkv, bias, masks, counts)])


def _kernel(qkv: Packed, bias: Bias) -> Attended:
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None]).transpose(1, 2).flatten(2)


class _Recomputed(torch.autograd.Function):
    """The fused kernel forward; backward, the scores again, some windows at a time."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch leaves it untyped
        qkv: Packed,
        bias: Bias,
        masks: Masks,
        counts: Sequence[int],
    ) -> Attended:
        ctx.save_for_backward(qkv, bias, masks)
        ctx.counts = counts
        return _kernels(qkv.detach(), bias.detach(), masks, counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Attended) -> tuple[Packed, Bias, None, None]:  # noqa: ANN401
        qkv, bias, masks = ctx.saved_tensors
        chunk = max(1, CHUNK_SCORES // bias.numel(), -(-len(qkv) // MOST_CHUNKS))
        qkv_grad = torch.empty_like(qkv)
        bias_grad = torch.zeros_like(bias, dtype=torch.promote_types(bias.dtype, torch.float32))
        heads = grad.reshape(*grad.shape[:2], *qkv.shape[3:])
        whole = [torch.split(one, list(ctx.counts)) for one in (qkv, heads, qkv_grad)]
        for *kind, mask in zip(*whole, masks.unbind(), strict=True):
            added = bias + mask
            for part in zip(*(torch.split(one, chunk) for one in kind), strict=True):
                bias_grad += _differentiate(*part, bias=added)
        return qkv_grad, bias_grad.to(bias.dtype), None, None


def _differentiate(
    qkv: Packed, grad: Float[Tensor, "windows area heads head_dim"], qkv_grad: Packed, *, bias: Bias
) -> Bias:
    """Write the gradients of some windows' queries, keys and values, and return that of the bias."""
    windows, area, _, heads, head_dim = qkv.shape
    scale = head_dim**-0.5
    copied = qkv.permute(2, 0, 3, 1, 4).clone(memory_format=torch.contiguous_format).flatten(1, 2)
    grad = grad.transpose(1, 2).clone(memory_format=torch.contiguous_format).flatten(0, 1)
    q, k, v = copied.unbind()
    q.mul_(scale)
    weights = torch.bmm(q, k.transpose(1, 2)).view(windows, heads, area, area).add_(bias).softmax(-1).flatten(0, 1)
    scores_grad = torch.bmm(grad, v.transpose(1, 2)).mul_(weights)
    scores_grad.addcmul_(weights, scores_grad.sum(-1, keepdim=True), value=-1)
    # Each gradient is written over what is not needed any more: no memory of its own, and one pass to pack all three.
    torch.bmm(weights.transpose(1, 2), grad, out=v)
    q_grad = torch.bmm(scores_grad, k, out=grad)
    torch.bmm(scores_grad.transpose(1, 2), q, out=k)
    torch.mul(q_grad, scale, out=q)
    qkv_grad.copy_(copied.view(3, windows, heads, area, head_dim).permute(1, 3, 0, 2, 4))
    return scores_grad.view(windows, heads, area, area).sum(0)
