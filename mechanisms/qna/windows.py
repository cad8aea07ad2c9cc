"""The sums over sliding windows that learned queries need, by two depthwise convolutions and without overflow.

With E = exp(score) a query's result in a window is DWConv(exp(b) w; E V) / DWConv(exp(b); E). Nothing here grows
with the window: no window is ever laid out in memory.

A shift of all scores of an image, head and query changes nothing in the quotient, so the largest one is moved to
R = 0.45 ln(largest float), 40 in float32: no exponential, product or square of a denominator leaves the range of the
type, in the backward pass either. A window is *near* if its denominator is at least exp(-R), which holds wherever
the best score, bias included, is within 2 R = 80 of the map's; what underflows in a near window is below exp(-40) of
its denominator. So the convolutions are right for near windows to the rounding of the type, whatever the scores.

One shift for all windows cannot be had for scores that vary more, nor can a few: windows that overlap may need as
many different shifts as there are windows over a token. Windows that are not *near* are left out of the
convolutions and computed by ``far_windows``, offset by offset, so that the result is right for any scores.

Half precision is computed in float32 here, under autocast as well.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from attnbench.mechanisms.qna.depthwise import depthwise
from attnbench.mechanisms.qna.far import far_windows

Scores: TypeAlias = Float[Tensor, "batch height width queries heads"]
Values: TypeAlias = Float[Tensor, "batch height width heads head_dim"]
Windowed: TypeAlias = Float[Tensor, "batch rows columns heads head_dim"]
Offsets: TypeAlias = Float[Tensor, "queries heads down across"]


def attend_windows(scores: Scores, values: Values, bias: Offsets, scale: Offsets, *, stride: int) -> Windowed:
    """Return, summed over the queries, each window's softmax-weighted values with the learned scale in the numerator.

    Windows are centred on every ``stride``-th token and of the size of ``bias`` and ``scale``; what lies outside the
    map counts as nothing. The result has the type of the scores, float32 or float64.
    """
    values = values.to(scores.dtype)
    if bias.shape[-1] == 1:  # alone in its window a token has all the weight, whatever its score
        return values[:, ::stride, ::stride] * scale.sum(0)[..., 0]
    reach = 0.45 * math.log(torch.finfo(scores.dtype).max)
    best = scores.detach().amax((1, 2), keepdim=True)
    exponentials = (scores - (best - reach)).exp()
    lowest, highest = bias.detach().flatten(2).aminmax(dim=-1)
    kernel = (bias - highest[..., None, None]).exp()
    denominators = _slide(exponentials, kernel, stride)
    # Biases so far apart that the kernel itself would underflow make every window of their query far.
    least = torch.full_like(highest, math.exp(-reach)).masked_fill(highest - lowest > 2 * reach, math.inf)
    far = denominators < least
    weights = denominators.masked_fill(far, math.inf).reciprocal().unsqueeze(-1)

    attended = far_windows(scores, values, bias, scale, far, stride=stride)
    spread = (kernel * scale).unsqueeze(2).expand(-1, -1, values.shape[-1], -1, -1)
    # Without gradients nothing of one query outlives it, and the next finds its memory warm.
    add = torch.addcmul if torch.is_grad_enabled() else Tensor.addcmul_
    for query in range(scores.shape[3]):
        summed = _slide(exponentials[..., query, :, None] * values, spread[query], stride)
        attended = add(attended, summed, weights[..., query, :, :])
        del summed
    return attended


def _slide(maps: Values | Scores, kernel: Float[Tensor, "a b down across"], stride: int) -> Windowed:
    """Return the depthwise convolution of a map whose channels are two axes, (B, H, W, a, b), with channels last."""
    weight = kernel.flatten(0, 1).unsqueeze(1)
    channels_first = maps.flatten(3).permute(0, 3, 1, 2)
    slid = depthwise(channels_first, weight, stride=stride)
    batch, _, rows, columns = slid.shape
    return slid.permute(0, 2, 3, 1).view(batch, rows, columns, *kernel.shape[:2])
