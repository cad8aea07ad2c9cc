"""The table of recipes: how papers train on ImageNet-1K, a row each with its source. Imports no torch.

Rates are those of the batch that they were printed for, and follow the batch that there is. A warm-up is the same part
of a training whatever its epochs. What differs from the source is said in the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from attnbench.errors import did_you_mean

KIND = "recipe"
"""How the kind of an accuracy begins that a recipe came to; its name follows."""
DATA = ("folder:", "torch/", "hfds/", "wds/")
"""What a recipe can be followed on: images that timm's transforms can be given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRecipe:
    """How a paper trains."""

    source: str
    differs: str
    """From the source, for those who read the table."""
    epochs: int
    optimiser: str
    """As ``timm.optim`` calls it."""
    rate: float
    """Highest learning rate at a batch of ``rate_batch`` images."""
    rate_batch: int
    by_root: bool = False
    """Whether the rate follows the square root of the batch, not the batch."""
    rate_before: float
    """Learning rate that the warm-up begins with."""
    rate_after: float
    """Learning rate that the cosine ends with."""
    warmup_epochs: int
    """Of ``epochs``."""
    weight_decay: float
    gradient_norm: float | None = None
    """Gradients of a greater norm are scaled down to it; None for no limit."""
    binary: bool = False
    """Whether each class is a question of its own (binary cross-entropy) or one of all."""
    label_smoothing: float
    mixup: float
    """Alpha, as of ``cutmix``; one of both is drawn for each batch."""
    cutmix: float
    augmentation: str
    """As timm's ``create_transform`` takes it."""
    erased: float
    """Share of images of which a rectangle is erased."""
    drop_path: float
    """Of networks that take it; the backbone of mechanisms has none."""
    average: float | None = None
    """Decay of the moving average of the weights, which is what is scored; None for the weights themselves."""

    def rate_at(self, batch: int) -> float:
        """Return the highest learning rate at a number of images per step.

        Example:
            >>> RECIPES["deit"].rate_at(512)
            0.0005
        """
        share = batch / self.rate_batch
        return self.rate * (share**0.5 if self.by_root else share)


RECIPES: Mapping[str, PublishedRecipe] = MappingProxyType(
    {
        "deit": PublishedRecipe(
            source="Touvron et al., arXiv:2012.12877, table 9, and the defaults of the authors' main.py",
            differs="no repeated augmentation; the average has timm's warm-up and is what is scored",
            epochs=300,
            optimiser="adamw",
            rate=1e-3,
            rate_batch=1024,
            rate_before=1e-6,
            rate_after=1e-5,
            warmup_epochs=5,
            weight_decay=0.05,
            label_smoothing=0.1,
            mixup=0.8,
            cutmix=1.0,
            augmentation="rand-m9-mstd0.5-inc1",
            erased=0.25,
            drop_path=0.1,
            average=0.99996,
        ),
        "swin": PublishedRecipe(
            source="Liu et al., arXiv:2103.14030, appendix A2.1, and the authors' config.py",
            differs="drop path is that of Swin-T whatever the network",
            epochs=300,
            optimiser="adamw",
            rate=1e-3,
            rate_batch=1024,
            rate_before=5e-7,
            rate_after=5e-6,
            warmup_epochs=20,
            weight_decay=0.05,
            gradient_norm=5.0,
            label_smoothing=0.1,
            mixup=0.8,
            cutmix=1.0,
            augmentation="rand-m9-mstd0.5-inc1",
            erased=0.25,
            drop_path=0.2,
        ),
        "short": PublishedRecipe(
            source="Wightman et al., ResNet strikes back, arXiv:2110.00476, table 2, procedure A3",
            differs="trained at the size that it is scored at, not at 160 pixels; no repeated augmentation",
            epochs=100,
            optimiser="lamb",
            rate=8e-3,
            rate_batch=2048,
            by_root=True,
            rate_before=1e-4,
            rate_after=1e-6,
            warmup_epochs=5,
            weight_decay=0.02,
            binary=True,
            label_smoothing=0.0,
            mixup=0.1,
            cutmix=1.0,
            augmentation="rand-m6-mstd0.5-inc1",
            erased=0.0,
            drop_path=0.0,
        ),
    }
)
"""Every recipe by its name."""


def wrong(name: str, dataset: str) -> str:
    """Say why a recipe cannot be followed on a data set, by their names; empty if it can, or none is asked for."""
    if name and name not in RECIPES:
        return f"--recipe {name}: {did_you_mean(name, RECIPES)}"
    if name and dataset and not dataset.startswith(DATA):
        return f"--recipe {name}: recipes are for images in folders and the like; give --accuracy folder:PATH"
    return ""
