"""``help`` of a mechanism says what is computed, what it costs and where it differs from its paper."""

import inspect

import pytest

from attnbench.mechanism import Mechanism
from attnbench.plugins.registry import discover

MECHANISMS = {name: one.load() for name, one in discover().plugins.items()}
PARTS = ("Paper: ", "Legend: ", "Cost per image: ", "Differs from the paper", "Example:")


@pytest.mark.parametrize("mechanism", MECHANISMS.values(), ids=MECHANISMS)
def test_the_class_has_its_mathematics_its_cost_and_its_departures(mechanism: type[Mechanism]) -> None:
    paragraphs = (inspect.getdoc(mechanism) or "").split("\n\n")
    starts = [next((part for part in PARTS if paragraph.startswith(part)), "") for paragraph in paragraphs]
    assert [start for start in starts if start] == list(PARTS)
    formulas = paragraphs[starts.index("Legend: ") + 1 : starts.index("Cost per image: ")]
    assert any(paragraph.startswith("    ") and " = " in paragraph for paragraph in formulas)


@pytest.mark.parametrize("mechanism", MECHANISMS.values(), ids=MECHANISMS)
def test_the_module_says_it_only_once(mechanism: type[Mechanism]) -> None:
    assert "Cost per image" not in (inspect.getmodule(mechanism).__doc__ or "")
