"""What is read from JSON and TOML: nothing is taken for what it is not, and every mistake is said with its place."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

import pytest

from attnbench import reading
from attnbench.reading import MisreadError, from_json, structured


class Colour(StrEnum):
    """One of two."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Within a whole."""

    count: int
    ratio: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """Holds parts."""

    name: str
    on: bool = False
    colour: Colour = Colour.RED
    parts: tuple[Part, ...] = ()
    options: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    limit: int | None = None


def test_what_is_not_given_has_its_default_and_what_is_given_its_type() -> None:
    content = {"name": "a", "colour": "blue", "parts": [{"count": 1, "ratio": 2}], "options": {"b": True, "c": None}}
    found = structured(content, Whole)
    assert found == Whole(
        name="a", colour=Colour.BLUE, parts=(Part(count=1, ratio=2.0),), options={"b": True, "c": None}
    )
    assert found.options["b"] is True
    assert isinstance(found.parts[0].ratio, float)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": 3}, "name: expected a text, got 3"),
        ({"on": 1}, "on: expected true or false, got 1"),
        ({"colour": "green"}, "colour: expected one of red, blue, got 'green'"),
        ({"limit": "3"}, "limit: expected a whole number, got '3'"),
        ({"parts": "ab"}, "parts: expected a list, got 'ab'"),
        ({"parts": [{"count": True}]}, "parts[0].count: expected a whole number, got True"),
        ({"parts": [{"count": 1}, {"count": 1.0}]}, "parts[1].count: expected a whole number, got 1.0"),
        ({"parts": [{"count": 1, "ratio": "1"}]}, "parts[0].ratio: expected a number, got '1'"),
        ({"parts": [{}]}, "parts[0]: lacks count"),
        ({"parts": [[1]]}, "parts[0]: expected names with values, got [1]"),
        ({"options": [1]}, "options: expected names with values, got [1]"),
        ({"colours": "red"}, "unknown name 'colours'; did you mean colour?"),
    ],
)
def test_each_mistake_is_said_with_its_place(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(MisreadError) as error:
        structured({"name": "a"} | wrong, Whole)
    assert error.value.mistakes == (said,)


def test_what_one_thread_reads_for_the_first_time_another_reads_as_strictly() -> None:
    """The way to read a type is worked out once, and kept: not half of it, whoever else works one out meanwhile."""

    def mistakes(_: int) -> tuple[str, ...]:
        with pytest.raises(MisreadError) as error:
            structured({"name": "a", "options": [1], "parts": [[1]]}, Whole)
        return tuple(sorted(error.value.mistakes))

    expected = ("options: expected names with values, got [1]", "parts[0]: expected names with values, got [1]")
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            for _ in range(20):
                reading._converter.cache_clear()
                assert set(threads.map(mistakes, range(4))) == {expected}
    finally:
        sys.setswitchinterval(before)


def test_a_mapping_is_read_as_strictly_after_another_kind_of_mapping() -> None:
    @dataclass(frozen=True)
    class Counts:
        counts: Mapping[str, int]

    @dataclass(frozen=True)
    class Later:
        options: Mapping[str, str | int | float | bool | None]

    for kind, name in ((Whole, "options"), (Counts, "counts"), (Later, "options")):
        with pytest.raises(MisreadError, match=rf"{name}: expected names with values, got \[1\]"):
            structured({"name": "a", name: [1]} if kind is Whole else {name: [1]}, kind)


def test_all_mistakes_are_said_at_once() -> None:
    with pytest.raises(MisreadError) as error:
        structured({"on": 1, "limit": "3"}, Whole)
    assert set(error.value.mistakes) == {
        "lacks name",
        "on: expected true or false, got 1",
        "limit: expected a whole number, got '3'",
    }


def test_nothing_heavy_is_imported_before_something_is_read() -> None:
    code = "import sys, attnbench.record, attnbench.reading; print({'cattrs', 'attrs'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("text", ["]]]", "", 'a "quoted" ]', "]\n"])
def test_how_deep_a_text_is_nested_does_not_hang_on_what_its_texts_hold(text: str) -> None:
    within = json.dumps([text, "[" * 100, text])
    assert from_json(within) == [text, "[" * 100, text]
    with pytest.raises(MisreadError, match="within more than 64 others"):
        from_json("[" * 65 + within + "]" * 65)
