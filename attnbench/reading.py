"""From JSON and TOML to the frozen types that they are read into, nothing taken for what it is not. Imports no torch.

A number in quotes is no number, ``true`` is no 1, a text is no list, and a name that a type does not have is a mistake.
Whatever a text holds, it is read or refused with a ``MisreadError``: ``attnbench.files`` reads those on disk.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_origin

from attnbench.errors import did_you_mean

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")

_EXPECTED: Mapping[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((float, int, Decimal), "a number"),
    str: ((str,), "a text"),
}
"""What stands for a type where it is read, and how that is called."""
_DEEPEST = 64
"""Lists and tables within each other; ours have six. Whatever goes through them goes no deeper than this."""
_MOST_DIGITS = 30
"""Of a whole number: a sweep of the largest images has counts of 20, and a float holds any of these."""
_MANY_DIGITS = re.compile(rf"[0-9]{{{_MOST_DIGITS}}}")
_MOST_MISTAKES, _LONGEST = 20, 80
"""Mistakes that are said of one text, and characters of what was given in one of them."""
_NEITHER = bytes(set(range(256)) - set(b'[]{}"'))
"""All bytes but brackets and quotes."""
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


class MisreadError(ValueError):
    """What was read does not fit.

    Attributes:
        mistakes: each with its place, what is expected there and what was given.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = tuple(mistakes)


def from_json(text: str) -> Any:  # noqa: ANN401 - whatever it holds
    """Return what a JSON text holds.

    Raises:
        MisreadError: it is no JSON, or has more in it than any of ours; with the line where that is known.
    """
    if text.count("[") + text.count("{") > _DEEPEST and _nested(text) > _DEEPEST:
        raise MisreadError([f"lists or tables within more than {_DEEPEST} others"])
    try:
        # A function of ours for each whole number takes as long as all the rest.
        return json.loads(text, parse_int=_whole) if _MANY_DIGITS.search(text) else json.loads(text)
    except json.JSONDecodeError as error:
        raise MisreadError([f"line {error.lineno}: not JSON, {error.msg[:1].lower()}{error.msg[1:]}"]) from None
    except RecursionError:
        raise MisreadError([f"lists or tables within more than {_DEEPEST} others"]) from None


def from_toml(text: str, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Return what a TOML text holds.

    Raises:
        MisreadError: it is no TOML, or has more in it than any of ours; with the line where that is known.
    """
    try:
        content = tomllib.loads(text, parse_float=parse_float)
    except (ValueError, ArithmeticError) as error:  # a number with a million digits is neither's own error
        raise MisreadError([f"is not TOML: {error}"]) from None
    except RecursionError:
        raise MisreadError([f"lists or tables within more than {_DEEPEST} others"]) from None
    level: list[Any] = [content]
    for _ in range(_DEEPEST + 1):  # dotted keys nest without brackets
        level = [one for each in level for one in _within(each)]
    if level:
        raise MisreadError([f"lists or tables within more than {_DEEPEST} others"])
    return content


def _nested(text: str) -> int:
    depth = deepest = 0
    if "\\" not in text:  # of a plan with ten thousand cells the rest is looked through fifty times as fast
        text = text.encode("utf-8", "surrogatepass").translate(None, _NEITHER).decode("ascii").replace('""', "")
    for found in _BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        deepest = max(deepest, depth)
    return deepest


def _within(content: object) -> list[Any]:
    return list(content.values()) if isinstance(content, dict) else content if isinstance(content, list) else []


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise MisreadError([f"a whole number of {len(digits)} digits"])
    return int(digits)


def structured(content: object, kind: type[T]) -> T:
    """Return what was read as a frozen type, with the defaults of what is not given.

    Args:
        content: as ``json.loads`` or ``tomllib.loads`` gives it.
        kind: the type: a dataclass, or what can be a field of one.

    Raises:
        MisreadError: it does not fit.
    """
    try:
        return _converter(detailed=False).structure(content, kind)
    except Exception:  # whatever is wrong, the slower reader says where
        raise MisreadError(_mistakes(content, kind)) from None


def _mistakes(content: object, kind: type) -> list[str]:
    from cattrs import transform_error  # noqa: PLC0415 - a tenth of a second

    try:
        _converter(detailed=True).structure(content, kind)
    except Exception as error:
        found = [_placed(line) for line in transform_error(error, format_exception=_said)]
        more = [f"and {len(found) - _MOST_MISTAKES} more"] if len(found) > _MOST_MISTAKES else []
        return [*found[:_MOST_MISTAKES], *more]
    raise AssertionError("the two readers differ")


def given_as(value: object) -> str:
    """Return what was given as a message says it: as it would be written, cut where it is long."""
    said = repr(value)
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."


def _said(error: BaseException, _: type | None) -> str:
    from cattrs.errors import ForbiddenExtraKeysError  # noqa: PLC0415

    if isinstance(error, ForbiddenExtraKeysError):
        names = [each.name for each in fields(error.cl)] if is_dataclass(error.cl) else []
        return ", ".join(f"unknown name {one!r}; {did_you_mean(one, names)}" for one in sorted(error.extra_fields))
    if isinstance(error, KeyError):
        return f"lacks {error.args[0]}"
    return str(error)


def _placed(line: str) -> str:
    said, _, place = line.rpartition(" @ $")
    place = place.removeprefix(".")
    if said.startswith("lacks "):
        place = place.rpartition(".")[0]
    return f"{place}: {said}" if place else said


@cache
def _converter(*, detailed: bool) -> Converter:
    from cattrs import Converter  # noqa: PLC0415 - a tenth of a second
    from cattrs.strategies import configure_union_passthrough  # noqa: PLC0415

    converter = Converter(forbid_extra_keys=True, detailed_validation=detailed)
    configure_union_passthrough(str | int | float | bool | None, converter)
    for kind in _EXPECTED:
        converter.register_structure_hook(kind, _strict(kind))
    converter.register_structure_hook_func(lambda kind: kind == Decimal | str, _figure)
    _refuse_other_than(converter, _is_tuple, (list, tuple), "a list")
    _refuse_other_than(converter, is_dataclass, (Mapping,), "names with values")
    _refuse_other_than(converter, _is_mapping, (Mapping,), "names with values")
    return converter


def _strict(kind: type) -> Callable[[object, Any], Any]:
    accepted, called = _EXPECTED[kind]

    def structure(given: object, asked: Any) -> Any:  # noqa: ANN401
        if type(given) is asked:  # as nearly always: a report reads millions of values
            return given
        if isinstance(asked, type) and issubclass(asked, Enum):  # cattrs takes an enumeration of texts for a text
            return _one_of(given, asked)
        if not isinstance(given, accepted) or (isinstance(given, bool) and kind is not bool):
            raise ValueError(f"expected {called}, got {given_as(given)}")
        try:
            return given if isinstance(given, kind) else kind(given)
        except OverflowError:
            raise ValueError(f"expected {called} of at most 1e308, got {given_as(given)}") from None

    return structure


def _figure(given: object, _: object) -> Decimal | str:
    """Read a number as exactly as it is written, or a text."""
    if isinstance(given, bool) or not isinstance(given, str | int | Decimal):
        raise ValueError(f"expected a number or a text, got {given_as(given)}")
    return given if isinstance(given, str) else Decimal(given)


def _one_of(given: object, kind: type[Enum]) -> Enum:
    known = _members(kind)
    if not isinstance(given, str) or given not in known:
        raise ValueError(f"expected one of {', '.join(map(str, known))}, got {given_as(given)}")
    return known[given]


@cache
def _members(kind: type[Enum]) -> dict[object, Enum]:
    return {each.value: each for each in kind}


def _refuse_other_than(
    converter: Converter, applies: Callable[[Any], bool], accepted: tuple[type, ...], called: str
) -> None:
    """Read some types from what is accepted alone, where cattrs would go through whatever can be gone through."""
    # For this thread alone, and forgotten whatever happens: cattrs keeps the hook that it was given.
    being_made: ContextVar[tuple[Any, ...]] = ContextVar("being_made", default=())

    def made(kind: Any) -> Callable[[Any, Any], Any]:  # noqa: ANN401
        before = being_made.set((*being_made.get(), kind))
        try:
            usual = _usual(converter, kind)
        finally:
            being_made.reset(before)

        def structure(given: Any, _: Any) -> Any:  # noqa: ANN401
            if type(given) is kind:  # read before
                return given
            if not isinstance(given, accepted):
                raise ValueError(f"expected {called}, got {given_as(given)}")
            return usual(given, kind)

        return structure

    converter.register_structure_hook_factory(lambda kind: applies(kind) and kind not in being_made.get(), made)


def _usual(converter: Converter, kind: Any) -> Callable[[Any, Any], Any]:  # noqa: ANN401
    if not _is_mapping(kind):
        return converter.get_structure_hook(kind, cache_result=False)
    from cattrs.cols import mapping_structure_factory  # noqa: PLC0415 - a tenth of a second

    # A converter keeps a mapping's usual hook once it has made it, and prefers that to ours from then on.
    return mapping_structure_factory(kind, converter, dict, detailed_validation=converter.detailed_validation)


def _is_tuple(kind: Any) -> bool:  # noqa: ANN401
    return get_origin(kind) is tuple


def _is_mapping(kind: Any) -> bool:  # noqa: ANN401
    return isinstance(origin := get_origin(kind), type) and issubclass(origin, Mapping)
