from __future__ import annotations

import enum
from typing import Literal

import pytest

from attnbench.errors import UsageError
from attnbench.plugins import options


class Example:
    def __init__(
        self,
        site: object,
        *,
        window: int = 7,
        grid: int | Literal["auto"] = "auto",
        backend: Literal["sdpa", "unfused"] = "sdpa",
        bias: bool = True,
        scale: float = 1.0,
    ) -> None: ...


def test_a_spec_is_a_name_and_options() -> None:
    assert options.split("swin:window=14:backend=unfused") == ("swin", {"window": "14", "backend": "unfused"})


def test_a_local_file_keeps_its_class() -> None:
    assert options.split("./mine.py:Mine:window=3") == ("./mine.py:Mine", {"window": "3"})


@pytest.mark.parametrize("spec", ["swin:window", "swin:=3", "swin:window=", "swin:window=1:window=2"])
def test_what_is_no_option_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="swin"):
        options.split(spec)


def test_values_are_read_by_their_annotation_and_defaults_filled_in() -> None:
    given = {"window": "14", "grid": "7", "backend": "unfused", "bias": "off", "scale": "0.5"}
    found = options.resolve(Example, given)
    assert found == {"window": 14, "grid": 7, "backend": "unfused", "bias": False, "scale": 0.5}
    assert options.resolve(Example, {}) == {
        "window": 7, "grid": "auto", "backend": "sdpa", "bias": True, "scale": 1.0,
    }  # fmt: skip


def test_every_mistake_is_named_with_what_would_do() -> None:
    with pytest.raises(UsageError) as caught:
        options.resolve(Example, {"windw": "3", "window": "3.5", "backend": "fast", "bias": "maybe"})
    assert caught.value.mistakes == (
        "unknown option 'windw'; did you mean window?",
        "option window=3.5: expected a whole number",
        "option backend=fast: expected sdpa, unfused",
        "option bias=maybe: expected true or false",
    )


def test_choices_of_an_option_are_its_literals() -> None:
    assert options.choices(Example, "backend") == ("sdpa", "unfused")
    assert options.choices(Example, "window") == ()


class Kind(enum.Enum):
    A = 1


class Loose:
    """Written as plugins are: a site for the type checker alone, nothing said of types, defaults of every kind."""

    def __init__(
        self,
        site: OnlyACheckerSeesIt,  # noqa: F821
        window=7,
        *,
        bias=True,
        backend: Literal["sdpa", "unfused"] = "sdpa",
        sides: tuple[int, int] = (7, 7),
        norm: type = dict,
        kind: Kind = Kind.A,
        mark: int | None = None,
        **more: int,
    ) -> None: ...


def test_a_name_that_only_a_type_checker_sees_hides_no_option() -> None:
    assert options.choices(Loose, "backend") == ("sdpa", "unfused")
    assert options.resolve(Loose, {"backend": "unfused", "mark": "3"})["mark"] == 3


def test_an_option_without_an_annotation_is_read_as_its_default_is() -> None:
    found = options.resolve(Loose, {"window": "14", "bias": "off"})
    assert (found["window"], found["bias"]) == (14, False)


def test_defaults_that_a_record_does_not_give_back_are_left_to_the_constructor() -> None:
    assert options.resolve(Loose, {}) == {"window": 7, "bias": True, "backend": "sdpa", "mark": None}


def test_an_option_without_a_default_must_be_given() -> None:
    class Needs:
        def __init__(self, site: object, *, window: int) -> None: ...

    assert options.resolve(Needs, {"window": "3"}) == {"window": 3}
    with pytest.raises(UsageError, match="option 'window' has no default; write window=VALUE"):
        options.resolve(Needs, {})
