"""The recipe of the golden files: weights and inputs that anyone can make again from a tensor's name."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / "golden"


def z(name: str, shape: Iterable[int]) -> np.ndarray:
    """Return the standard normal numbers that belong to a name, in float64."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tuple(shape))


def golden_input(shape: Iterable[int]) -> Tensor:
    """Return the input of the golden runs, in float32."""
    return torch.from_numpy(z("input", shape).astype(np.float32))


def pytorch_tensor(name: str, shape: Iterable[int]) -> Tensor:
    """Return a tensor of HAT-Net's PyTorch code (``a.b.weight``)."""
    shape = tuple(shape)
    if name.endswith("bias"):
        value = 0.1 * z(name, shape)
    elif len(shape) == 1:
        value = 1 + 0.1 * z(name, shape)
    else:
        value = z(name, shape) / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(value.astype(np.float32))


def flax_tensor(name: str, shape: Iterable[int]) -> Tensor:
    """Return a tensor of QnA's Flax code (``a/b/kernel``)."""
    shape, last = tuple(shape), name.rsplit("/", 1)[-1]
    if last == "bias":
        value = 0.1 * z(name, shape)
    elif last == "scale":
        value = 1 + 0.1 * z(name, shape)
    elif last in {"rpe_bias", "attn_scale_weights"}:
        value = 0.5 * z(name, shape)
    elif last == "query":
        value = z(name, shape)
    else:
        value = z(name, shape) / math.sqrt(math.prod(shape[:-1]))
    return torch.from_numpy(value.astype(np.float32))


def golden(name: str) -> tuple[Tensor, Mapping[str, Any], Mapping[str, tuple[int, ...]]]:
    """Return a layer's golden output, its configuration, and its parameters' shapes where the file has them."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        params = json.loads(str(file["params"])) if "params" in file else {}
        return torch.from_numpy(file["y"]), json.loads(str(file["config"])), {k: tuple(v) for k, v in params.items()}
