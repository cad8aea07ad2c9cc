import json
from dataclasses import replace

import pytest

from attnbench.record import FORMAT, Cell, Mode, Record, Scope, Status

CELL = Cell(mechanism="swin", options={"window": 7}, height=224, width=448, scope=Scope.LAYER, mode=Mode.TRAIN)


def test_a_record_survives_its_json() -> None:
    record = Record(cell=CELL, status=Status.TIMEOUT, reason="late", metrics={"macs": 12, "latency_median_s": 0.1})
    assert Record.from_json(record.to_json()) == record


def test_a_key_is_the_same_for_the_same_question_in_any_order_of_options() -> None:
    one = replace(CELL, options={"a": 1, "b": 2})
    assert one.key == replace(CELL, options={"b": 2, "a": 1}).key


@pytest.mark.parametrize(
    "change",
    [{"mechanism": "mhsa"}, {"options": {"window": 8}}, {"distribution": "x 2"}, {"height": 225}, {"compiled": True}],
)
def test_a_key_changes_with_anything_asked(change: dict) -> None:
    assert replace(CELL, **change).key != CELL.key


def test_cells_that_differ_in_the_mechanism_only_are_comparable() -> None:
    assert replace(CELL, mechanism="mhsa", options={}, compiled=True).group == CELL.group
    assert replace(CELL, batch=2).group != CELL.group


def test_a_record_of_a_later_format_is_refused_with_what_to_do() -> None:
    fields = json.loads(Record(cell=CELL, status=Status.OK).to_json()) | {"format": FORMAT + 1}
    with pytest.raises(ValueError, match="a newer one is needed"):
        Record.from_json(json.dumps(fields))
