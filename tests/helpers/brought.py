"""What other packages bring by entry points, without a package that is installed."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from attnbench import families


def bring(monkeypatch: pytest.MonkeyPatch, *entries: EntryPoint) -> None:
    """Let this process find entry points beside those that are installed."""
    found = families.installed

    def installed(group: str) -> dict[str, EntryPoint]:
        return {**found(group), **{entry.name: entry for entry in entries if entry.group == group}}

    monkeypatch.setattr(families, "installed", installed)
