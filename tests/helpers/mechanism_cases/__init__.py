"""A case for every mechanism: its definition, what somebody else wrote, and what ``test_mechanisms.py`` asks of it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from case import Case

CASES: dict[str, Case] = {
    path.stem.replace("_", "-"): import_module(f"mechanism_cases.{path.stem}").CASE
    for path in sorted(Path(__file__).parent.glob("[!_]*.py"))
}
"""The cases, by the names that the mechanisms are registered under."""
