"""Options of a mechanism: written on the command line, checked against the constructor's annotations.

``swin:window=14:backend=unfused`` names a mechanism and two of its options.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from attnbench import inert
from attnbench.errors import PluginError, UsageError, did_you_mean
from attnbench.plugins.names import NETWORKS
from attnbench.record import Value

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_ALIAS = re.compile(r"([A-Za-z_][\w.+-]*)=(.+)", re.DOTALL)


def aliased(spec: str) -> tuple[str, str]:
    """Split ``alias=name:key=value`` into the alias, empty if there is none, and the rest.

    Example:
        >>> aliased("ours=./mine.py:Mine:window=7"), aliased("swin:window=7")
        (('ours', './mine.py:Mine:window=7'), ('', 'swin:window=7'))
    """
    named = _ALIAS.fullmatch(spec)
    return (named[1], named[2]) if named else ("", spec)


def split(spec: str) -> tuple[str, dict[str, str]]:
    """Split ``name:key=value:key=value`` into the name and the options as written.

    The name may be ``FILE.py:Class``, ``package.module:Class``, or ``timm:NETWORK``.

    Raises:
        UsageError: a part is not ``key=value``, or an option is given twice.
    """
    name, *parts = spec.split(":")
    if parts and "=" not in parts[0] and (name.endswith(".py") or _is_module(name, parts[0])):
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


def _is_module(name: str, attribute: str) -> bool:
    """Return whether a name is that of a module, and not of a mechanism whose option was written without a value."""
    return name == NETWORKS or (bool(_MODULE.fullmatch(name)) and ("." in name or attribute[:1].isupper()))


def parameters(constructor: type) -> dict[str, inspect.Parameter]:
    """Return the arguments of a mechanism's constructor that are options, each with what it admits as its annotation.

    They are those after the site. One whose default cannot be written in a record, such as a tuple or a class, is no
    option: it is left at that. Where nothing is annotated, an option admits what its default is.
    """
    known = hints(constructor.__init__)  # type: ignore[misc]
    taken = [p for p in list(inspect.signature(constructor).parameters.values())[1:] if p.kind in _NAMED]
    return {
        p.name: p.replace(annotation=known.get(p.name, _kind_of(p.default)), kind=inspect.Parameter.KEYWORD_ONLY)
        for p in taken
        if p.default is p.empty or is_value(p.default)
    }


def hints(function: object) -> dict[str, Any]:
    """Return the annotations of a function; what holds a name that only a type checker sees is left out."""
    unseen: dict[str, Any] = {}
    while True:
        try:
            found = typing.get_type_hints(function, localns=unseen)
        except NameError as error:
            name = str(error.name)
            if name in unseen:
                return {}
            unseen[name] = Any
        except (TypeError, AttributeError):
            return {}
        else:
            return {name: hint for name, hint in found.items() if hint is not Any}


def is_value(default: object) -> bool:
    """Return whether a record gives a default back as it is; of a member of an enumeration it keeps the text."""
    return default is None or type(default) in {bool, int, float, str}


def is_readable(annotation: Any) -> bool:  # noqa: ANN401
    """Return whether a text can stand for a value under an annotation, one other than None."""
    return any(a in (int, float, bool, str) or typing.get_origin(a) is Literal for a in alternatives(annotation))


def _kind_of(default: object) -> type:
    return type(default) if is_value(default) and default is not None else str


def resolve(constructor: type, given: Mapping[str, str]) -> dict[str, Value]:
    """Return every option of a mechanism with its value: those given, read by their annotation, and the defaults.

    Those in the class's ``unset`` are left out where they are not given, and those in its ``added`` where they leave
    the layer as it was before them.

    Raises:
        UsageError: an option that the constructor does not take, or a value that its annotation does not admit.
        PluginError: the class's ``added`` is not what it should be.
    """
    takes = parameters(constructor)
    mistakes = [f"unknown option {name!r}; {did_you_mean(name, takes)}" for name in given if name not in takes]
    options: dict[str, Value] = {}
    missing = []
    for name, parameter in takes.items():
        if name not in given:
            if parameter.default is parameter.empty:
                missing.append(name)
            elif name not in getattr(constructor, "unset", ()):
                options[name] = parameter.default
            continue
        try:
            options[name] = parse(given[name], parameter.annotation)
        except ValueError as error:
            mistakes.append(f"option {name}={given[name]}: {error}")
    mistakes += [f"option {name!r} has no default; write {name}=VALUE, or give it one" for name in missing]
    if missing and hasattr(constructor, "what_works"):
        mistakes[-1] += constructor.what_works(options, missing)
    if mistakes:
        raise UsageError(*mistakes)
    return as_before(constructor, options)


def as_before(constructor: type, options: Mapping[str, Value]) -> dict[str, Value]:
    """Return the options that a cell is known by: all but those that came later and leave the layer as it was.

    An option counts as that while its default is the value that the class's ``added`` has for it. Where the default
    moves on, the option is written out at every value: what is left out means the same layer for ever.

    Args:
        constructor: the mechanism.
        options: of it, with their values.

    Raises:
        PluginError: ``added`` does not give options of the class the value that they have where they change nothing.
    """
    takes, added = parameters(constructor), getattr(constructor, "added", {})
    if not isinstance(added, Mapping) or not all(name in takes and is_value(added[name]) for name in added):
        raise PluginError(
            f"{constructor.__name__}.added is {inert.brief(repr(added))}; give options of the class with the value at "
            f"which the layer is as it was before: {{'option': value}}"
        )
    return {
        name: value
        for name, value in options.items()
        if name not in added or not (_same(value, added[name]) and _same(takes[name].default, added[name]))
    }


def at_default(constructor: type, options: Mapping[str, Value]) -> tuple[str, ...]:
    """Return the names of those options that have their default."""
    takes = parameters(constructor)
    return tuple(name for name, value in options.items() if name in takes and _same(value, takes[name].default))


def _same(value: object, other: object) -> bool:
    """Return whether two values are one in a record, in which 1, 1.0 and true are not."""
    return type(value) is type(other) and value == other


def parse(text: str, annotation: Any) -> Value:  # noqa: ANN401 - annotations have no common type
    """Return the value that a text stands for under an annotation.

    Raises:
        ValueError: the annotation admits no such value; the message says what it does admit.
    """
    for admitted in alternatives(annotation):
        try:
            return _parse_one(text, admitted)
        except ValueError:
            continue
    raise ValueError(f"expected {' or '.join(_name(a) for a in alternatives(annotation))}")


def alternatives(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """Return what an annotation is a union of, itself where it is none."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(a for part in typing.get_args(annotation) for a in alternatives(part))
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
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "none"}.get(
        annotation, getattr(annotation, "__name__", str(annotation))
    )


def choices(constructor: type, name: str) -> tuple[str, ...]:
    """Return the values that a ``Literal`` option admits, none if there is no such option."""
    hint = hints(constructor.__init__).get(name)  # type: ignore[misc]
    found = [a for a in alternatives(hint) if typing.get_origin(a) is Literal]
    return tuple(str(choice) for literal in found for choice in typing.get_args(literal))
