"""What a recipe is made of, each of timm's: transforms, mixed images, optimiser, schedule, loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from timm.data import auto_augment
from timm.data.mixup import Mixup
from timm.data.transforms_factory import create_transform
from timm.optim import create_optimizer_v2, param_groups_weight_decay
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn

from attnbench.accuracy.data.splits import Images, Labels
from attnbench.accuracy.recipes.table import PublishedRecipe
from attnbench.accuracy.training import optimiser_groups


def transform(recipe: PublishedRecipe, config: Mapping[str, Any]) -> Callable[[Any], Tensor]:
    """Return timm's transform of training images.

    Args:
        recipe: which augmentation and how much is erased.
        config: what timm resolves for an image size.
    """
    asked = {"auto_augment": recipe.augmentation, "color_jitter": None, "re_prob": recipe.erased, "re_mode": "pixel"}
    made = create_transform(**{**config, **asked}, is_training=True)
    for step in made.transforms:
        for operation in getattr(step, "ops", ()):
            if operation.aug_fn is auto_augment.posterize:
                operation.aug_fn = _posterised
    found: Callable[[Any], Tensor] = made
    return found


def _posterised(image: Any, bits: int, **_: Any) -> Any:  # noqa: ANN401 - PIL's
    """Keep so many bits of each colour, one at least.

    timm 1.0.31 asks for none at the highest magnitude, which Pillow 13 refuses. It goes when timm asks for one.
    """
    return auto_augment.posterize(image, max(1, bits))  # type: ignore[no-untyped-call]


def mixing(recipe: PublishedRecipe, classes: int) -> Mixup:
    """Return what mixes the images of a batch, an even number of them, and their labels."""
    return Mixup(  # type: ignore[no-untyped-call]
        mixup_alpha=recipe.mixup,
        cutmix_alpha=recipe.cutmix,
        label_smoothing=recipe.label_smoothing,
        num_classes=classes,
    )


def mixed(mix: Mixup, images: Images, labels: Labels) -> tuple[Tensor, Tensor]:
    """Return the mixed images of a batch and what is to be answered, (batch, classes); of an odd batch all but one."""
    even = max(2, len(labels) - len(labels) % 2)
    if len(labels) == 1:  # mixed with itself
        images, labels = images.repeat(2, 1, 1, 1), labels.repeat(2)
    found, wanted = mix(images[:even], labels[:even])
    return found, wanted


def optimiser(model: nn.Module, recipe: PublishedRecipe, *, batch: int) -> torch.optim.Optimizer:
    """Return the optimiser of a model; what the model, or a mechanism in it, says should not decay does not."""
    own = getattr(model, "no_weight_decay", None)
    if own is None:
        groups = optimiser_groups(model, recipe.weight_decay)
    else:
        groups = param_groups_weight_decay(model, recipe.weight_decay, no_weight_decay_list=own())
    groups = [group for group in groups if group["params"]]
    found: torch.optim.Optimizer = create_optimizer_v2(groups, opt=recipe.optimiser, lr=recipe.rate_at(batch))
    return found


def schedule(optimizer: torch.optim.Optimizer, recipe: PublishedRecipe, *, epochs: int, steps: int) -> Scheduler:
    """Return what sets the learning rate over some epochs of so many steps: a rise, then a cosine.

    It has no state but the step that it is told.
    """
    total = epochs * steps
    found, _ = create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=total,
        warmup_epochs=round(total * recipe.warmup_epochs / recipe.epochs),
        warmup_lr=recipe.rate_before,
        min_lr=recipe.rate_after,
        step_on_epochs=False,
        updates_per_epoch=1,
    )
    made: Scheduler = found
    return made


def loss(recipe: PublishedRecipe, logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the loss of logits beside what was to be answered, both (batch, classes)."""
    if recipe.binary:
        return F.binary_cross_entropy_with_logits(logits, wanted)
    return F.cross_entropy(logits, wanted)
