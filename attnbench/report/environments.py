"""The recorded environment as lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FIRST = ("hardware", "environment_id")


def describe(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what an environment is, name and value, as ``Environment.to_dict`` gave it."""
    lines = [(_label("", name), str(environment[name])) for name in _FIRST if name in environment]
    for part, content in environment.items():
        if isinstance(content, Mapping):
            lines += [(_label(part, name), _said(value)) for name, value in content.items()]
        elif part not in (*_FIRST, "torch_version"):
            lines.append((_label("", part), _said(content)))
    return lines


def _label(part: str, name: str) -> str:
    return name if part == "variables" else f"{part} {name}".replace("_", " ").strip()


def _said(value: object) -> str:
    return "not known" if value is None else str(value)
