"""Options of a mechanism: written on the command line, checked against the constructor's annotations.

``swin:window=14:backend=unfused`` names a mechanism and two of its options.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from attnbench.errors import UsageError, did_you_mean
from attnbench.record import Value


def split(spec: str) -> tuple[str, dict[str, str]]:
    """Split ``name:key=value:key=value`` into the name (``FILE.py:Class`` included) and the options as written.

    Raises:
        UsageError: a part is not ``key=value``, or an option is given twice.
    """
    name, *parts = spec.split(":")
    if name.endswith(".py") and parts and "=" not in parts[0]:
        name = f"{name}:{parts.pop(0)}"
    options: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not (key and equals and value):
            raise UsageError(f"{spec!r}: {part!r} is not an option; write {name}:option=value")
        if key in options:
            raise UsageError(f"{spec!r}: option {key!r} is given twice")
        options[key] = value
    return name, options


def resolve(constructor: type, given: Mapping[str, str]) -> dict[str, Value]:
    """Return every option of a mechanism with its value: those given, read by their annotation, and the defaults.

    Raises:
        UsageError: an option that the constructor does not take, or a value that its annotation does not admit.
    """
    hints = typing.get_type_hints(constructor.__init__)  # type: ignore[misc]
    parameters = {
        name: p
        for name, p in inspect.signature(constructor).parameters.items()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
    mistakes = [
        f"unknown option {name!r}; {did_you_mean(name, parameters)}" for name in given if name not in parameters
    ]
    options: dict[str, Value] = {}
    for name, parameter in parameters.items():
        if name not in given:
            options[name] = parameter.default
            continue
        try:
            options[name] = parse(given[name], hints.get(name, str))
        except ValueError as error:
            mistakes.append(f"option {name}={given[name]}: {error}")
    if mistakes:
        raise UsageError(*mistakes)
    return options


def parse(text: str, annotation: Any) -> Value:  # noqa: ANN401 - annotations have no common type
    """Return the value that a text stands for under an annotation.

    Raises:
        ValueError: the annotation admits no such value; the message says what it does admit.
    """
    for admitted in _alternatives(annotation):
        try:
            return _parse_one(text, admitted)
        except ValueError:
            continue
    raise ValueError(f"expected {' or '.join(_name(a) for a in _alternatives(annotation))}")


def _alternatives(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(a for part in typing.get_args(annotation) for a in _alternatives(part))
    return (annotation,)


def _parse_one(text: str, annotation: Any) -> Value:  # noqa: ANN401
    if typing.get_origin(annotation) is Literal:
        for choice in typing.get_args(annotation):
            if str(choice) == text:
                return typing.cast("Value", choice)
        raise ValueError
    if annotation is bool:
        return {"true": True, "false": False, "on": True, "off": False}[text.lower()] if _is_bool(text) else _refuse()
    if annotation is type(None):
        return None if text.lower() == "none" else _refuse()
    if annotation in (int, float, str):
        return typing.cast("Value", annotation(text))
    return _refuse()


def _is_bool(text: str) -> bool:
    return text.lower() in {"true", "false", "on", "off"}


def _refuse() -> Value:
    raise ValueError


def _name(annotation: Any) -> str:  # noqa: ANN401
    if typing.get_origin(annotation) is Literal:
        return ", ".join(str(choice) for choice in typing.get_args(annotation))
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(
        annotation, getattr(annotation, "__name__", str(annotation))
    )


def choices(constructor: type, name: str) -> tuple[str, ...]:
    """Return the values that a ``Literal`` option admits, none if there is no such option."""
    hint = typing.get_type_hints(constructor.__init__).get(name)  # type: ignore[misc]
    found = [a for a in _alternatives(hint) if typing.get_origin(a) is Literal]
    return tuple(str(choice) for literal in found for choice in typing.get_args(literal))
