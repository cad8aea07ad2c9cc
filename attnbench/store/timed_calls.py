"""The timed calls of a cell as they are kept, ``samples/<cell>.npz``: read as a stranger's, bounded and checked."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy import ndarray

from attnbench import files, raised

Arrays: TypeAlias = Mapping[str, ndarray[Any, Any]]
MOST_BYTES = 2**28
"""That a file may expand to: a hundred times the longest that was ever timed."""
_NUMBERS = "iuf"
_KNOWN = {
    "elapsed_ns": (_NUMBERS, 1),
    "host_ns": (_NUMBERS, 1),
    "position": ("iu", 1),
    "outlier": ("b", 1),
    "calls_per_sample": (_NUMBERS, 0),
    "group": ("U", 1),
    "baseline_key": ("U", 0),
    "baseline_elapsed_ns": (_NUMBERS, 1),
    "baseline_calls_per_sample": (_NUMBERS, 0),
}
"""Kinds of numpy, and axes, of the arrays that mean something; others are left out."""
_NONE = np.empty(0)


def read(path: Path) -> Arrays:
    """Return the arrays of a file.

    Raises:
        UnreadableError: it is not there, no file, too large, or does not hold what timed calls are.
    """
    return decoded(files.bytes_of(path), path)


def decoded(content: bytes, path: Path) -> Arrays:
    """Return the arrays that a file holds, whose bytes are read already.

    Raises:
        UnreadableError: they do not hold what timed calls are.
    """
    try:
        return _checked(content)
    except Exception as error:  # a damaged file makes a decoder fail in any way
        raise files.UnreadableError([f"{path} holds no timed calls: {raised.in_words(error)}"]) from None


def _checked(content: bytes) -> Arrays:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        expanded = sum(entry.file_size for entry in archive.infolist())
    if expanded > MOST_BYTES:
        raise ValueError(f"it expands to {expanded} bytes, more than the {MOST_BYTES} that are read")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in _KNOWN if name in arrays.files}
    beside = {name for name in _KNOWN if name.startswith("baseline_")}
    if beside & found.keys() and not beside <= found.keys():
        raise ValueError(f"it lacks {', '.join(sorted(beside - found.keys()))}")
    if beside <= found.keys() and found["baseline_elapsed_ns"].shape != found.get("elapsed_ns", _NONE).shape:
        raise ValueError("its rounds are not those of the baseline")
    for name, array in found.items():
        kinds, axes = _KNOWN[name]
        if array.dtype.kind not in kinds or array.ndim != axes:
            raise ValueError(f"{name} is {array.dtype} of {array.ndim} axes")
        if kinds is _NUMBERS and not np.isfinite(array).all():
            raise ValueError(f"{name} has what is no number")
        if axes == 0 and kinds is _NUMBERS and array < 1:
            raise ValueError(f"{name} is {array}")
    return found
