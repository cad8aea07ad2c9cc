"""A line in the output of a notebook's cell that is written over, where a terminal has a bar."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from rich.console import Console


class NotebookLine:
    """One line of plain text, shown where the cell that made it shows its output.

    Raises:
        ImportError: IPython is not there, so that this is no notebook.
    """

    def __init__(self) -> None:
        display = import_module("IPython.display").display
        self._handle: Any = display({"text/plain": ""}, raw=True, display_id=True)

    def show(self, text: str) -> None:
        """Write over what the line said."""
        self._handle.update({"text/plain": text}, raw=True)


def line_of(console: Console) -> NotebookLine | None:
    """Return the line of a console that shows in a notebook; None for any other, or if it shows nothing."""
    return NotebookLine() if console.is_jupyter and not console.quiet else None
