"""From JSON and TOML to the frozen types that they are read into, nothing taken for what it is not. Imports no torch.

A number in quotes is no number, ``true`` is no 1, a text is no list, and a name that a type does not have is a mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


class MisreadError(ValueError):
    """What was read does not fit.

    Attributes:
        mistakes: each with its place, what is expected there and what was given.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = tuple(mistakes)


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
        return [_placed(line) for line in transform_error(error, format_exception=_said)]
    raise AssertionError("the two readers differ")


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
    _refuse_other_than(converter, _is_table, (Mapping,), "names with values")
    return converter


def _strict(kind: type) -> Callable[[object, Any], Any]:
    accepted, called = _EXPECTED[kind]

    def structure(given: object, asked: Any) -> Any:  # noqa: ANN401
        if isinstance(asked, type) and issubclass(asked, Enum):  # cattrs takes an enumeration of texts for a text
            return _one_of(given, asked)
        if not isinstance(given, accepted) or (isinstance(given, bool) and kind is not bool):
            raise ValueError(f"expected {called}, got {given!r}")
        return given if isinstance(given, kind) else kind(given)

    return structure


def _figure(given: object, _: object) -> Decimal | str:
    """Read a number as exactly as it is written, or a text."""
    if isinstance(given, bool) or not isinstance(given, str | int | Decimal):
        raise ValueError(f"expected a number or a text, got {given!r}")
    return given if isinstance(given, str) else Decimal(given)


def _one_of(given: object, kind: type[Enum]) -> Enum:
    known = {each.value: each for each in kind}
    if not isinstance(given, str) or given not in known:
        raise ValueError(f"expected one of {', '.join(map(str, known))}, got {given!r}")
    return known[given]


def _refuse_other_than(
    converter: Converter, applies: Callable[[Any], bool], accepted: tuple[type, ...], called: str
) -> None:
    """Read some types from what is accepted alone, where cattrs would go through whatever can be gone through."""
    being_made: list[Any] = []

    def made(kind: Any) -> Callable[[Any, Any], Any]:  # noqa: ANN401
        being_made.append(kind)
        usual = converter.get_structure_hook(kind, cache_result=False)
        being_made.pop()

        def structure(given: Any, _: Any) -> Any:  # noqa: ANN401
            if type(given) is kind:  # read before
                return given
            if not isinstance(given, accepted):
                raise ValueError(f"expected {called}, got {given!r}")
            return usual(given, kind)

        return structure

    converter.register_structure_hook_factory(lambda kind: applies(kind) and kind not in being_made, made)


def _is_tuple(kind: Any) -> bool:  # noqa: ANN401
    return get_origin(kind) is tuple


def _is_table(kind: Any) -> bool:  # noqa: ANN401
    return is_dataclass(kind) or (isinstance(origin := get_origin(kind), type) and issubclass(origin, Mapping))
