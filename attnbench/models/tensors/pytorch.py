"""What ``torch.save`` wrote, zipped or in the legacy format, as data: nothing that a file names is called.

torch's reader for weights alone calls only what it knows, which is tensors and containers. Training scripts store
their options and scores beside the tensors; what is known to be such data is replaced by a stand-in and forgotten, so
that none of its own code has to be trusted.
"""

from __future__ import annotations

import re
import zipfile
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from attnbench.models.tensors.screening import UnknownCallError, screen

MOST_EXPANDED = 1
"""How many times its size a zipped file may expand to: torch never compresses."""
_DATA = (
    "argparse.Namespace",
    "numpy.dtype",
    *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
    *(
        f"{module}.{pure}{system}Path"
        for module in ("pathlib", "pathlib._local")
        for pure in ("", "Pure")
        for system in ("Posix", "Windows")
    ),
)
"""Options and scores, under the names of every version of numpy and Python."""
_LEGACY_PICKLES = 5
"""A number that marks the format, its version, facts about the machine, what was saved, and the names of storages."""
_GLOBAL = re.compile(r"GLOBAL ([\w.]{1,100})", re.ASCII)


class RefusedError(Exception):
    """A file holds what is neither tensors nor known data."""


class _StandIn:
    """Takes the place of an object, whatever it was made of."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def decode(file: Path | BytesIO) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return what a file holds.

    Raises:
        RefusedError: code, or an object that is not known to be data; the message names it if torch does.
        ValueError: it is damaged, or takes more memory, time or stack than a checkpoint does.
    """
    try:
        _screen(file)
    except UnknownCallError as error:
        raise RefusedError(_refusal(str(error))) from error
    try:
        with torch.serialization.safe_globals([(_StandIn, name) for name in _DATA]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # torch's own message advises to load the file all the same, code included
        found = _GLOBAL.search(str(error))
        raise RefusedError(_refusal(found[1] if found else "")) from error


def _refusal(name: str) -> str:
    named = f": {name}; save the network's state_dict alone" if name else ""
    return f"holds pickled code or objects, which are never loaded{named}"


def _screen(file: Path | BytesIO) -> None:
    """Screen the pickles of a file: one in an archive, five one after the other in the legacy format."""
    if isinstance(file, BytesIO):
        with zipfile.ZipFile(file) as archive:
            size = file.getbuffer().nbytes
            for name in archive.namelist():
                if name.endswith(".pkl"):
                    screen(BytesIO(archive.read(name)), size=size, data=_DATA)
        file.seek(0)
        return
    with file.open("rb") as pickles:
        for _ in range(_LEGACY_PICKLES):
            screen(pickles, size=file.stat().st_size, data=_DATA)
