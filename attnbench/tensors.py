"""Checkpoint files as named tensors, whatever wrote them: PyTorch, safetensors, Flax's msgpack or numpy's npz.

Files are read as data: pickled code is never run. What a file is, is told from its content, because Flax gives its
checkpoints no suffix. Knows no network; what a network's authors named otherwise, it renames itself.
"""

from __future__ import annotations

import zipfile
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from math import prod
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeAlias

import msgpack
import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from attnbench.errors import DataError

Tensors: TypeAlias = dict[str, Tensor]

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "module", "model_state", "params")
"""Entries that hold the tensors among other things (optimiser, epoch), averaged weights first as in timm."""
_PREFIXES = ("module.", "_orig_mod.")
"""What parallel training and compilation put before every name."""
_FLAX_ARRAYS = frozenset({1, 3})
"""Flax's msgpack extension types of an array and of a scalar with a type."""
_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool,
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
)}  # fmt: skip
_MOST_LISTED = 12


def read(path: str | Path) -> Tensors:
    """Return the tensors of a checkpoint by name, ``a.b.weight`` or Flax's ``a/b/kernel``, without wrappers.

    Raises:
        DataError: there is no such file, it is none of the four kinds, damaged, or holds anything but data.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no checkpoint file at {path}")
    kind, decode = _kind(path)
    try:
        tree = decode(path)
    except UnpicklingError as error:  # torch's own message advises to load the file all the same, code included
        raise DataError(f"{path} is damaged, or holds pickled code or objects, which are never loaded") from error
    except Exception as error:  # a damaged file can make a decoder fail in any way
        raise DataError(f"{path} is damaged, or no checkpoint in {kind}: {error}") from error
    tensors = _named(tree)
    if not tensors:
        raise DataError(f"{path}, in {kind}, holds no named tensors")
    return tensors


def check_fit(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """Raise unless tensors have the names and shapes that a network wants.

    Args:
        given: what is to be loaded.
        wanted: what the network has.
        strict: whether names that only one of the two has are mistakes too.

    Raises:
        DataError: naming what is missing, what is unexpected, and what has another shape, with both shapes.
    """
    shared = given.keys() & wanted.keys()
    misfits = {
        "of another shape": [
            f"{name} is {_shape(given[name])}, the network's {_shape(wanted[name])}"
            for name in wanted
            if name in shared and given[name].shape != wanted[name].shape
        ]
    }
    if strict:
        misfits["missing"] = [f"{name} {_shape(wanted[name])}" for name in wanted if name not in shared]
        misfits["unexpected"] = [f"{name} {_shape(given[name])}" for name in given if name not in shared]
    found = [_listed(kind, lines) for kind, lines in misfits.items() if lines]
    if found:
        raise DataError("\n".join(["the checkpoint does not fit the network", *found]))


def _kind(path: Path) -> tuple[str, Callable[[Path], Any]]:
    """Return what a file is and what decodes it, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(9)
    if not head:
        raise DataError(f"{path} is empty")
    if head.startswith(b"PK\x03\x04"):
        return "PyTorch's format or npz", _from_zip
    if head[0] == 0x80:  # a pickle's protocol, or an empty msgpack map, which would hold nothing
        return "PyTorch's legacy format", _from_torch
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return "safetensors", safetensors.torch.load_file
    if 0x81 <= head[0] <= 0x8F or head[0] in {0xDE, 0xDF}:
        return "Flax's msgpack", _from_flax
    raise DataError(f"{path} is no checkpoint of PyTorch, safetensors, Flax (msgpack) or numpy (npz)")


def _from_zip(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names):  # torch would advise to load it with its code
        raise ValueError("a TorchScript program, which is code")
    return _from_npz(path) if all(name.endswith(".npy") for name in names) else _from_torch(path)


def _from_torch(path: Path) -> Any:  # noqa: ANN401
    # Training scripts store their options beside the tensors: a namespace is attributes and no code.
    with torch.serialization.safe_globals([Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _from_npz(path: Path) -> Any:  # noqa: ANN401
    with np.load(path, allow_pickle=False) as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


def _from_flax(path: Path) -> Any:  # noqa: ANN401
    return msgpack.unpackb(path.read_bytes(), ext_hook=_flax_extension, strict_map_key=True)


def _flax_extension(code: int, payload: bytes) -> Tensor | None:
    """Return the array that an extension of Flax's holds: shape, type and the bytes row by row."""
    if code not in _FLAX_ARRAYS:
        return None
    shape, dtype, content = msgpack.unpackb(payload, raw=True)
    name = dtype.decode()
    if name not in _DTYPES:
        raise ValueError(f"an array of type {name}")
    if not content:
        return torch.empty(shape, dtype=_DTYPES[name])
    values = torch.frombuffer(bytearray(content), dtype=_DTYPES[name])
    if len(values) != prod(shape):
        raise ValueError(f"an array of shape {tuple(shape)} with {len(values)} values")
    return values.view(shape)


def _named(tree: Any) -> Tensors:  # noqa: ANN401
    """Return the tensors of a decoded file, flat, without wrappers and prefixes."""
    while isinstance(tree, Mapping) and (wrapper := next((key for key in _WRAPPERS if _holds(tree, key)), None)):
        tree = tree[wrapper]
    flat = dict(_flatten(tree, "")) if isinstance(tree, Mapping) else {}
    for prefix in (*_PREFIXES, "params/"):
        if all(name.startswith(prefix) for name in flat):
            flat = {name.removeprefix(prefix): tensor for name, tensor in flat.items()}
    return flat


def _holds(tree: Mapping[str, Any], key: str) -> bool:
    return isinstance(tree.get(key), Mapping)


def _flatten(tree: Any, path: str) -> Iterable[tuple[str, Tensor]]:  # noqa: ANN401
    if isinstance(tree, Tensor):
        yield path, tree
    elif isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield from _flatten(branch, f"{path}/{key}" if path else str(key))


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def _listed(kind: str, lines: list[str]) -> str:
    more = len(lines) - _MOST_LISTED
    shown = [*lines[:_MOST_LISTED], *([f"and {more} more"] if more > 0 else [])]
    return "\n".join([f"{kind} ({len(lines)}):", *(f"  {line}" for line in shown)])
