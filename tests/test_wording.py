"""A number and what it counts agree."""

from __future__ import annotations

import pytest

from attnbench.wording import number_of


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (0, ("cell",), "0 cells"),
        (1, ("cell",), "1 cell"),
        (2_000, ("cell",), "2,000 cells"),
        (1, ("process", "processes"), "1 process"),
        (2, ("process", "processes"), "2 processes"),
    ],
)
def test_a_number_and_what_it_counts_agree(count: int, words: tuple[str, ...], said: str) -> None:
    assert number_of(count, *words) == said
