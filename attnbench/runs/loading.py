"""What the parent needs once all is measured, imported while it waits for another process: before anything is timed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

_FOR_THE_REPORT = ("attnbench.report.plots", "attnbench.report.roofline")
"""Matplotlib, seaborn and scipy: seconds."""


@contextmanager
def report_meanwhile() -> Iterator[None]:
    """Import what draws the report while the body waits for another process; done when the body is.

    Where the system allows no thread more, it is imported when it is needed.
    """
    thread = Thread(target=_import, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        yield
        return
    yield
    thread.join()


def _import() -> None:
    for module in _FOR_THE_REPORT:
        importlib.import_module(module)
