"""Measures the influence of pixels on the token in the middle of each stage's map, by gradients. Knows no cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.models.backbone import Backbone
from attnbench.reach.influence import Influence

Images: TypeAlias = Float[Tensor, "batch channels height width"]
Maps: TypeAlias = list[Float[Tensor, "batch dim _ _"]]
MOST_STAGES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StageInfluence:
    """The influence on the middle of one stage's map."""

    stage: int
    """From 1."""
    influence: Influence


def measure(model: nn.Module, images: Images) -> tuple[StageInfluence, ...]:
    """Return the influence on the token in the middle of each stage's map, averaged over images.

    Args:
        model: in evaluation, so that nothing is dropped.
        images: each of which is seen by itself.

    Raises:
        ValueError: an output does not depend on the input at all.
    """
    sums: list[Tensor] = []
    shapes: list[torch.Size] = []
    for image in images.unbind():
        x = image[None].detach().clone().requires_grad_()
        maps = stages(model, x)
        shapes = [each.shape for each in maps]
        for place, each in enumerate(maps):
            middle = each[0, :, each.shape[2] // 2, each.shape[3] // 2].sum()
            (gradient,) = torch.autograd.grad(middle, x, retain_graph=place + 1 < len(maps))
            size = gradient.detach().abs().sum((0, 1)).double().cpu()
            if len(sums) <= place:
                sums.append(torch.zeros_like(size))
            sums[place] += size
    return tuple(
        StageInfluence(stage=place + 1, influence=_influence(total, shape))
        for place, (total, shape) in enumerate(zip(sums, shapes, strict=True))
    )


def stages(model: nn.Module, x: Images) -> Maps:
    """Return the last map of each stage; of a network without stages those after each quarter of its layers."""
    if isinstance(model, Backbone):
        return _of_backbone(model, x)
    intermediates: Callable[..., Any] | None = getattr(model, "forward_intermediates", None)
    if intermediates is None:
        found = [model.forward_features(x)]  # type: ignore[operator]
    else:
        found = list(intermediates(x, intermediates_only=True, output_fmt="NCHW"))
    maps = [each for each in found if each.ndim == 4]
    if not maps:
        raise ValueError("its features are no maps")
    return _chosen(maps)


def _of_backbone(model: Backbone, x: Images) -> Maps:
    found, y, carry = [], x, None
    for stage in model.stages:
        y, carry = stage(y, carry)
        found.append(y)
    return found


def _chosen(maps: Sequence[Tensor]) -> Maps:
    """Return the last map of each size, those of quarters of the depth where there is one size alone; four at most."""
    last = {each.shape[2:]: each for each in maps}
    if len(last) > 1:
        return list(last.values())[-MOST_STAGES:]
    count = min(MOST_STAGES, len(maps))
    return [maps[(place + 1) * len(maps) // count - 1] for place in range(count)]


def _influence(total: Tensor, shape: torch.Size) -> Influence:
    sizes = total.numpy()
    if not sizes.any():
        raise ValueError("an output in the middle of a map does not depend on the image")
    down, right = sizes.shape[0] / shape[2], sizes.shape[1] / shape[3]
    return Influence(
        sizes=sizes,
        row=(shape[2] // 2 + 0.5) * down,
        column=(shape[3] // 2 + 0.5) * right,
        stride=max(1, round(max(down, right))),
    )
