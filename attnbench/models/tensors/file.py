"""What a checkpoint file is: PyTorch's, safetensors, Flax's msgpack or numpy's npz, and its tensors by name.

Told from the content, because Flax gives its checkpoints no suffix.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch

from attnbench.errors import DataError
from attnbench.files import opened, reason_of
from attnbench.models.tensors import archive, flax, npz, pytorch
from attnbench.models.tensors.tree import Tensors, named

T = TypeVar("T")


def read(path: str | Path) -> Tensors:
    """Return the tensors of a checkpoint by name, ``a.b.weight`` or Flax's ``a/b/kernel``, without wrappers.

    Raises:
        DataError: there is no such file, it is none of the four kinds, damaged, would expand to far more than its
            size, or holds anything but data.
    """
    path = Path(path)
    kind, tensors = _read(path, lambda decode: named(decode(path)))
    if not tensors:
        raise DataError(f"{path}, in {kind}, holds no named tensors")
    return tensors


def beside_tensors(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return what a checkpoint holds, of which the tensors are a part; of safetensors what it says of itself.

    Raises:
        DataError: as ``read``.
    """
    return _read(path, lambda decode: _metadata(path) if decode is safetensors.torch.load_file else decode(path))[1]


def _read(path: Path, take: Callable[[Callable[[Path], Any]], T]) -> tuple[str, T]:
    """Return what a file is, and what is taken of it by means of its decoder."""
    if not path.is_file():
        raise DataError(f"no checkpoint file at {path}")
    kind, decode = _kind(path)
    try:
        return kind, take(decode)
    except pytorch.RefusedError as error:
        raise DataError(f"{path} is damaged, or {error}") from error
    except Exception as error:  # a damaged file can make a decoder fail in any way
        said = str(error) or type(error).__name__  # a stack that overflows says nothing
        raise DataError(f"{path} is damaged, or no checkpoint in {kind}: {said}") from error


def _metadata(path: Path) -> dict[str, str]:
    with safetensors.safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def _kind(path: Path) -> tuple[str, Callable[[Path], Any]]:
    """Return what a file is and what decodes it, by its first bytes."""
    try:
        with opened(path) as file:
            head = file.read(9)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason_of(error)}") from error
    if not head:
        raise DataError(f"{path} is empty")
    if head.startswith(b"PK\x03\x04"):
        return "PyTorch's format or npz", _from_zip
    if head[0] == 0x80:  # a pickle's protocol, or an empty msgpack map, which would hold nothing
        return "PyTorch's legacy format", pytorch.decode
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return "safetensors", safetensors.torch.load_file
    if 0x81 <= head[0] <= 0x8F or head[0] in {0xDE, 0xDF}:
        return "Flax's msgpack", flax.decode
    raise DataError(f"{path} is no checkpoint of PyTorch, safetensors, Flax (msgpack) or numpy (npz)")


def _from_zip(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    found = archive.entries(path)
    names = [entry.filename for entry in found]
    if any(name.endswith("/constants.pkl") for name in names):  # torch would advise to load it with its code
        raise ValueError("a TorchScript program, which is code")
    if all(name.endswith(".npy") for name in names):
        archive.check_expanded(found, path, most=npz.MOST_EXPANDED)
        return npz.decode(path)
    archive.check_expanded(found, path, most=pytorch.MOST_EXPANDED)
    return pytorch.decode(archive.written_anew(path))
