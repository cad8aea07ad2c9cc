"""What messages say would do."""

from __future__ import annotations

import pytest

from attnbench.errors import did_you_mean


@pytest.mark.parametrize(
    ("given", "known", "said"),
    [
        ("swn", ["swin", "qna"], "did you mean swin?"),
        ("zzz", ["swin", "qna"], "known: qna, swin"),
        ("zzz", [], "none are known"),
    ],
)
def test_a_message_names_what_is_near_or_else_all(given: str, known: list[str], said: str) -> None:
    assert did_you_mean(given, known) == said


def test_of_very_many_names_some_are_named() -> None:
    said = did_you_mean("zzz", [f"network_{place:04}" for place in range(1382)])
    assert said.startswith("known are 1,382, such as network_0000, ")
    assert len(said) < 150
