"""What is trained by a recipe: a network of timm or of a plugin, or the backbone that suits the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from attnbench.accuracy import proxy
from attnbench.accuracy.data.splits import Dataset
from attnbench.accuracy.recipes.table import PublishedRecipe
from attnbench.models import networks
from attnbench.models.backbone import Build
from attnbench.record import Value


def of_network(
    name: str, options: Mapping[str, Value], data: Dataset, recipe: PublishedRecipe
) -> Callable[[], nn.Module]:
    """Return what builds a network with random weights for the classes and the image size of a data set.

    It has the recipe's drop path if it takes one and none is given.

    Args:
        name: as timm knows it.
        options: ``backend`` and arguments of the network's own.
        data: what it is trained on.
        recipe: by which.
    """

    def build() -> nn.Module:
        networks.fuse(options.get("backend") != "unfused")
        given: dict[str, Any] = {**options, "num_classes": data.classes}
        offered: dict[str, Any] = {"img_size": (data.height, data.width), "drop_path_rate": recipe.drop_path}
        if "backend" in given:
            offered["backend"] = given.pop("backend")
        model: nn.Module = networks.build(name, offered=offered, given=given)[0]
        return model

    return build


def of_mechanism(layer: Build, data: Dataset) -> Callable[[], nn.Module]:
    """Return what builds the backbone that suits a data set: but for the mechanism it starts alike for one seed."""
    return lambda: proxy.backbone(layer, data, seed=torch.initial_seed())
