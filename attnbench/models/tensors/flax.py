"""Flax's msgpack: a tree of dictionaries whose leaves are arrays in an extension type of Flax's."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import msgpack
import torch
from torch import Tensor

_ARRAYS = frozenset({1, 3})
"""The extension types of an array and of a scalar with a type."""
_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.complex64, torch.complex128,
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
)}  # fmt: skip


def decode(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the tree of a file."""
    return msgpack.unpackb(path.read_bytes(), ext_hook=_extension, strict_map_key=True)


def _extension(code: int, payload: bytes) -> Tensor | None:
    return _array(payload) if code in _ARRAYS else None


def _array(payload: bytes) -> Tensor:
    """Return the array of a shape, a type and the bytes row by row."""
    shape, dtype, content = msgpack.unpackb(payload, raw=True)
    name = dtype.decode()
    if name not in _DTYPES:
        raise ValueError(f"an array of type {name}")
    if not isinstance(shape, list) or any(type(side) is not int or side < 0 for side in shape):
        raise ValueError(f"an array of shape {shape!r}")
    width = _DTYPES[name].itemsize
    if len(content) != prod(shape) * width:
        raise ValueError(f"an array of shape {tuple(shape)} with {len(content) / width:g} values")
    # torch takes no buffer of no bytes.
    values = torch.frombuffer(bytearray(content), dtype=_DTYPES[name]) if content else torch.empty(0)
    return values.to(_DTYPES[name]).view(shape)
