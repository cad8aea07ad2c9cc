"""What ``torch.save`` wrote, zipped or in the legacy format, as data: nothing that a file names is called.

torch's reader for weights alone calls only what it knows, which is tensors and containers. Training scripts store
their options and scores beside the tensors; what is known to be such data is replaced by a stand-in and forgotten, so
that none of its own code has to be trusted.
"""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

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
    """
    try:
        with torch.serialization.safe_globals([(_StandIn, name) for name in _DATA]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # torch's own message advises to load the file all the same, code included
        found = _GLOBAL.search(str(error))
        name = f": {found[1]}; save the network's state_dict alone" if found else ""
        raise RefusedError(f"holds pickled code or objects, which are never loaded{name}") from error
