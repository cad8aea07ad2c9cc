"""Checkpoint files as tests write them, of every kind, honest or not."""

from __future__ import annotations

from pathlib import Path

import msgpack
import numpy as np
import safetensors.torch
import torch
from torch import Tensor

TENSORS = {"a.weight": torch.randn(3, 2), "a.bias": torch.randn(3), "steps": torch.tensor(7)}


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class Calls:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments) -> None:
        self.called = function, arguments

    def __reduce__(self):
        return self.called


class Counted(int):
    """A class of a training script's own."""


def flax_bytes(tree) -> bytes:
    """Return a tree of tensors as Flax's ``to_bytes`` writes it."""

    def encode(tensor: Tensor) -> msgpack.ExtType:
        dtype = str(tensor.dtype).removeprefix("torch.")
        content = tensor.contiguous().view(torch.uint8) if tensor.ndim else tensor.view(1).view(torch.uint8)
        return msgpack.ExtType(1, msgpack.packb((tuple(tensor.shape), dtype, content.numpy().tobytes())))

    return msgpack.packb(tree, default=encode)


def nested(tensors: dict[str, Tensor]) -> dict:
    """Return tensors named a/b/c as a tree."""
    tree: dict = {}
    for name, tensor in tensors.items():
        *branches, last = name.split("/")
        branch = tree
        for key in branches:
            branch = branch.setdefault(key, {})
        branch[last] = tensor
    return tree


def write(folder: Path, kind: str, tensors: dict[str, Tensor]) -> Path:
    """Write a checkpoint of some kind under a name that does not tell the kind."""
    path = folder / "checkpoint_300"
    match kind:
        case "pth":
            torch.save(tensors, path)
        case "legacy pth":
            torch.save(tensors, path, _use_new_zipfile_serialization=False)
        case "safetensors":
            safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
        case "npz":
            with path.open("wb") as file:
                np.savez(file, **{name: tensor.numpy() for name, tensor in tensors.items()})
        case "flax":
            path.write_bytes(flax_bytes({"step": 3, "params": nested(tensors), "opt_state": {"0": {}}}))
    return path
