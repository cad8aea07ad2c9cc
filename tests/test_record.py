import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from attnbench.metrics import METRICS
from attnbench.record import CHECKSUM, FORMAT, Cell, Mode, Record, Scope, Status, checksum

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


KEPT = Path(__file__).parents[1] / "results" / "reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterCell(Cell):
    """A cell as it will be with one more axis."""

    colour: str = ""


def test_an_axis_that_is_added_renames_no_cell_but_those_that_use_it() -> None:
    later = LaterCell(**{**asdict(CELL), "scope": CELL.scope, "mode": CELL.mode, "task": CELL.task})
    assert later.key == CELL.key
    assert later.group == CELL.group
    assert replace(later, colour="red").key != CELL.key


@pytest.mark.parametrize("run", sorted(KEPT.iterdir()), ids=lambda run: run.name)
def test_the_cells_of_kept_runs_have_the_keys_that_they_were_kept_by(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    records = [Record.from_json(json.dumps(line)) for line in lines]
    assert [record.cell.key for record in records] == [line["cell_key"] for line in lines]
    timed = {r.cell.key for r in records if "latency_median_s" in r.metrics}
    assert timed <= {path.stem for path in (run / "samples").iterdir()}


def test_a_cell_that_lacks_fields_has_their_defaults() -> None:
    read = json.loads(Record(cell=CELL, status=Status.OK).to_json())
    del read["cell"]["seeds"]
    assert Record.from_json(json.dumps(read)).cell == CELL


def test_metrics_of_format_1_are_read_by_the_names_that_they_have_today() -> None:
    former = {"bound_share": 0.5, "least_bytes": 7, "switches_undone": "deterministic", "params": 3}
    line = json.loads(Record(cell=CELL, status=Status.OK, metrics=former).to_json()) | {"format": 1}

    read = Record.from_json(json.dumps(line)).metrics

    assert read == {
        "roofline_fraction": 0.5,
        "bytes_lower_bound": 7,
        "torch_flags_restored": "deterministic",
        "params": 3,
    }
    assert set(read) <= set(METRICS)


def test_a_line_has_a_checksum_of_all_the_rest_of_it() -> None:
    record = Record(cell=CELL, status=Status.OK, metrics={"macs": 12}, settings={"precision": 0.01})
    line = json.loads(record.to_json())
    assert line[CHECKSUM] == checksum(line)
    for name in line.keys() - {CHECKSUM}:
        assert checksum(line | {name: "changed"}) != line[CHECKSUM], name


@pytest.mark.parametrize(("scope", "throughput"), [(Scope.LAYER, 8.0), (Scope.BACKBONE, 2.0)])
def test_before_format_3_the_throughput_of_a_layer_was_that_of_its_stack(scope: Scope, throughput: float) -> None:
    cell = replace(CELL, scope=scope, batch=4)
    line = json.loads(Record(cell=cell, status=Status.OK).to_json())
    line |= {"format": 2, "metrics": {"latency_median_s": 0.5, "throughput_img_per_s": 2.0}}
    assert Record.from_json(json.dumps(line)).metrics["throughput_img_per_s"] == throughput


def test_what_the_user_calls_a_cell_is_no_part_of_what_is_asked() -> None:
    named = replace(CELL, alias="ours")
    assert (named.key, named.group) == (CELL.key, CELL.group)
    assert (named.label, CELL.label) == ("ours", "swin")
    assert replace(CELL, given=("window",), at_default=("window",)).key == CELL.key
