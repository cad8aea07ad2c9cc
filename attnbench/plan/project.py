"""What a project asks for unless told otherwise: ``attnbench.toml`` in its folder, or ``[tool.attnbench]``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnbench import files
from attnbench.errors import UsageError
from attnbench.reading import MisreadError

OWN, SHARED = "attnbench.toml", "pyproject.toml"


def defaults(folder: Path) -> tuple[str, Mapping[str, Any]]:
    """Return where a project says what is usual in it, and that, by the names of a sweep file; nothing if nowhere.

    A file of its own goes before the table in ``pyproject.toml``; folders above are not looked at.

    Raises:
        UsageError: what is there cannot be read.
    """
    own, shared = folder / OWN, folder / SHARED
    try:
        if own.is_file():
            return OWN, files.toml_of(own)
        tools = files.toml_of(shared).get("tool", {}) if shared.is_file() else {}
    except MisreadError as error:
        raise UsageError(*error.mistakes) from None
    found = tools.get("attnbench") if isinstance(tools, dict) else None
    if found is not None and not isinstance(found, dict):
        raise UsageError(f"{SHARED}: tool.attnbench: expected names with values")
    return (f"{SHARED}, tool.attnbench", found) if found else ("", {})
