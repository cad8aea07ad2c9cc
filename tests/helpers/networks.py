"""The published networks as tests build them: whole on no device, or small enough to run."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import timm
import torch
from golden_recipe import GOLDEN
from torch import Tensor, nn

for _mechanism in ("hmhsa", "qna", "lavit"):
    import_module(f"attnbench.mechanisms.{_mechanism}.network")

SMALL: dict[str, dict[str, Any]] = {
    "hat_net_tiny": {"dims": (8, 8, 16, 16), "depths": (1, 2, 1, 1), "head_dim": 4},
    "qna_vit_tiny": {
        "base_dim": 4,
        "heads": (1, 2, 2, 4),
        "local_heads": (1, 1, 2, 4),
        "local_depths": (0, 0, 2, 1),
        "learned_depths": (1, 1, 1, 0),
    },
    "lavit_tiny": {"img_size": (70, 99)},
}
"""What makes one network of each family small; LaViT's widths are fixed."""


def small(name: str, **options: Any) -> nn.Module:
    """Return a small network in evaluation mode, every parameter random so that none can be left out unnoticed."""
    torch.manual_seed(0)
    network = timm.create_model(name, **SMALL[name] | {"num_classes": 5} | options).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


def images(*, channels: int = 3, seed: int = 1) -> Tensor:
    """Return two images of an odd, non-square size, which is LaViT's here."""
    return torch.randn(2, channels, 70, 99, generator=torch.Generator().manual_seed(seed))


def weightless(name: str) -> nn.Module:
    """Return a whole network without memory for its weights."""
    with torch.device("meta"):
        return timm.create_model(name).eval()


def published_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Return every tensor's shape in the authors' checkpoint."""
    return {key: tuple(shape) for key, shape in json.loads((GOLDEN / f"{name}.params.json").read_text()).items()}
