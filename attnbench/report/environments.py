"""The recorded environments as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_FIRST = ("hardware", "environment_id")
_PARTS = ("cpu", "gpu", "software", "flags", "variables", "code", "state")
"""In the order in which they are said; others come after them."""

_NOT_KNOWN = "not known"
_NEVER = object()

Lines = list[tuple[str, str]]
"""Names and values."""


def describe(environment: Mapping[str, Any]) -> Lines:
    """Return what an environment is, name and value, as ``Environment.to_dict`` gave it."""
    lines = [(_label("", name), str(environment[name])) for name in _FIRST if name in environment]
    for part in [*_PARTS, *sorted(environment.keys() - {*_PARTS, *_FIRST, "torch_version"})]:
        content = environment.get(part)
        if isinstance(content, Mapping):
            lines += [(_label(part, name), _said(content[name])) for name in sorted(content)]
        elif part in environment:
            lines.append((_label("", part), _said(content)))
    return lines


def describe_all(environments: Iterable[Mapping[str, Any]]) -> dict[str, Lines]:
    """Return what each of some environments is, by its id; what was not the same all the time with all its values."""
    seen: dict[str, dict[str, dict[str, None]]] = {}
    last: dict[str, Mapping[str, Any]] = {}
    for environment in filter(None, environments):
        key = environment.get("environment_id", "without an id")
        before, last[key] = last.get(key, {}), environment
        # Of thousands of cells of one run all but the state of the moment is the same: it is said once.
        changed = {part: content for part, content in environment.items() if before.get(part, _NEVER) != content}
        names = seen.setdefault(key, {})
        for name, value in describe(changed):
            names.setdefault(name, {})[value] = None
    return {key: [(name, _joined(name, [*values])) for name, values in names.items()] for key, names in seen.items()}


def known(lines: Lines) -> Lines:
    """Return the lines that say something."""
    return [(name, value) for name, value in lines if value != _NOT_KNOWN]


def apart(environments: Mapping[str, Lines]) -> tuple[Lines, dict[str, Lines]]:
    """Return what several environments have in common, and by id what is each one's own; all of a single one is common.

    Example:
        >>> apart({"a": [("cpu", "Xeon"), ("threads", "1")], "b": [("cpu", "Xeon"), ("threads", "2")]})
        ([('cpu', 'Xeon')], {'a': [('threads', '1')], 'b': [('threads', '2')]})
    """
    common = set.intersection(*(set(lines) for lines in environments.values()))
    first = next(iter(environments.values()))
    own = {key: [line for line in lines if line not in common] for key, lines in environments.items()}
    return [line for line in first if line in common], {key: lines for key, lines in own.items() if lines}


def _joined(name: str, values: list[str]) -> str:
    if len(values) > 1 and name.startswith("state "):
        least, most = min(values, key=_order), max(values, key=_order)
        return f"{least} to {most}"
    return ", ".join(values)


def _order(value: str) -> tuple[float, str]:
    try:
        return float(value), ""
    except ValueError:
        return 0.0, value


def _label(part: str, name: str) -> str:
    return name if part == "variables" else f"{part} {name}".replace("_", " ").strip()


def _said(value: object) -> str:
    return _NOT_KNOWN if value is None else str(value)
