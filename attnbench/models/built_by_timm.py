"""How timm builds a network of ours, and what it says of it: the images to give it, no weights to download."""

from __future__ import annotations

from typing import Any

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs
from torch import nn

from attnbench.models.network import PyramidNetwork


def create(network: type[PyramidNetwork], variant: str, *, pretrained: bool, **options: Any) -> nn.Module:  # noqa: ANN401
    """Return a network as timm builds its own; with ``features_only`` timm's wrapper around it.

    Raises:
        ValueError: ``feature_cls`` asks for another wrapper than ``getter``. The others call a stage as a module or
            watch one being called; here a stage is run by its network, which hands on what mechanisms carry.
    """
    if options.get("feature_cls", "getter") != "getter":
        raise ValueError(f"feature_cls must be 'getter' for {variant}, got {options['feature_cls']!r}")
    return build_model_with_cfg(
        network,
        variant,
        pretrained,
        pretrained_filter_fn=lambda tensors, model: model.renamed(tensors),
        feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"},
        **options,
    )


def default_cfgs(*variants: str, first_conv: str, classifier: str, paper: str, **others: Any) -> Any:  # noqa: ANN401
    """Return timm's configuration of each variant: what images to give it, no weights to download."""
    shared = {
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "interpolation": "bicubic",
        "crop_pct": 0.875,
        "first_conv": first_conv,
        "classifier": classifier,
        "paper_ids": paper,
    }
    return generate_default_cfgs(dict.fromkeys(variants, shared | others))
