from typing import Literal

import pytest

from attnbench import options
from attnbench.errors import UsageError


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
