"""The runs of a history, wherever in some folders they lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from attnbench import store
from attnbench.errors import StoreError
from attnbench.record import Record
from attnbench.store import pytest_json

_DEEPEST = 3
"""Folders within each other that are looked into: ``history/2026-01/0f3a91c`` and what lies in it."""


def read(paths: Sequence[Path]) -> list[Record]:
    """Return the records of all runs in some folders, and of files that pytest-benchmark wrote.

    Raises:
        StoreError: there is no run in one of them, or a run cannot be read.
    """
    return [record for path in paths for one in _runs(path) for record in _records(one)]


def _runs(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(_within(path, _DEEPEST))
    if not found:
        raise StoreError(f"{path} holds no run: no {store.RECORDS} in it or in folders of it; give a folder of runs")
    return found


def _within(folder: Path, deep: int) -> Iterator[Path]:
    if (folder / store.RECORDS).is_file():
        yield folder
    elif deep:
        for inner in folder.iterdir():
            if inner.is_dir() and not inner.is_symlink() and not inner.name.startswith("."):
                yield from _within(inner, deep - 1)


def _records(path: Path) -> list[Record]:
    return pytest_json.records_from(path) if path.suffix == ".json" and path.is_file() else store.read(path)
