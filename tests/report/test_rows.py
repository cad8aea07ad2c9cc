import json
from dataclasses import replace

import pandas as pd

from attnbench.record import Cell, Record, Scope, Status, Task
from attnbench.report.columns import COLUMNS, MEANINGS
from attnbench.report.rows import rows
from attnbench.report.spreadsheet import CSV_COLUMNS


def record(mechanism: str, status: Status = Status.OK, *, options: dict | None = None, **metrics: object) -> Record:
    cell = Cell(mechanism=mechanism, options=options or {}, height=224, width=448)
    environment = {"environment_id": "e1", "hardware": "a machine", "torch_version": "2.15"}
    return Record(
        cell=cell, status=status, reason="why" if status != "ok" else "", metrics=metrics, environment=environment
    )


def trained(mechanism: str, top1: float) -> Record:
    cell = Cell(task=Task.ACCURACY, mechanism=mechanism, height=8, width=8, dataset="digits", seeds=3)
    return Record(cell=cell, status=Status.OK, metrics={"accuracy_top1": top1, "accuracy_kind": "proxy", "epochs": 9})


def test_every_record_is_a_row_with_every_promised_column() -> None:
    frame = rows([record("a", macs=5), record("b", Status.OUT_OF_MEMORY)])
    assert list(frame["status"]) == ["ok", "out-of-memory"]
    assert list(frame["reason"]) == ["", "why"]
    assert (frame["res_height"][0], frame["res_width"][0]) == (224, 448)
    assert set(CSV_COLUMNS) <= set(frame.columns) == set(COLUMNS)
    assert pd.isna(frame["macs"][1])


def test_options_that_were_given_are_in_the_name_and_others_only_where_rows_differ() -> None:
    found = record("swin", options={"window": 4, "shift": "cyclic"})
    given = replace(found, cell=replace(found.cell, given=("window",)))
    assert list(rows([given])["label"]) == ["swin, window=4"]
    assert list(rows([found])["label"]) == ["swin"]
    mine = replace(given, cell=replace(given.cell, alias="mine"))
    assert list(rows([mine])["label"]) == ["mine"]
    other = record("swin", options={"window": 4, "shift": "none"})
    assert list(rows([given, other])["label"]) == ["swin, shift=cyclic, window=4", "swin, shift=none"]
    assert given.cell.key == found.cell.key == mine.cell.key


def test_no_records_are_an_empty_frame_with_all_columns() -> None:
    assert list(rows([]).columns) == list(COLUMNS)


def test_accuracy_stands_in_the_row_of_the_same_mechanism() -> None:
    frame = rows([record("a"), record("b"), trained("a", 0.97)])
    assert list(frame["accuracy_top1"].fillna(-1)) == [0.97, -1]
    assert list(frame["dataset"].fillna("")) == ["digits", ""]
    assert frame["epochs"][0] == 9


def of_network(head: str, **how: object) -> Cell:
    return Cell(mechanism="", network="n", scope=Scope.NETWORK, height=128, width=128, head=head, **how)


def test_a_networks_score_under_a_head_stands_beside_its_costs_under_that_head_alone() -> None:
    costs = [Record(cell=of_network(head), status=Status.OK, metrics={"macs": 5}) for head in ("segmentation", "")]
    asked = of_network("segmentation", task=Task.ACCURACY, dataset="composite-segmentation", seeds=2)
    scored = {"miou": 0.3, "miou_ci_low": 0.2, "miou_ci_high": 0.4, "miou_per_seed": "0.29 0.31", "accuracy_seeds": 2}
    frame = rows([*costs, Record(cell=asked, status=Status.OK, metrics=scored | {"epochs": 4})])
    assert list(frame["miou"].fillna(-1)) == [0.3, -1]
    assert list(frame["miou_per_seed"].fillna("")) == ["0.29 0.31", ""]
    assert list(frame["dataset"].fillna("")) == ["composite-segmentation", ""]
    evaluated = replace(trained("", 0.8), cell=of_network("", task=Task.ACCURACY, dataset="folder:images"))
    frame = rows([*costs, evaluated])
    assert list(frame["accuracy_top1"]) == [0.8, 0.8]  # of the network, under whatever head it stands


def test_of_several_runs_each_has_its_own_accuracy() -> None:
    runs = [
        replace(one, run_id=run)
        for run, top1 in (("r1", 0.97), ("r2", 0.5))
        for one in (record("a"), trained("a", top1))
    ]
    frame = rows([*runs, replace(record("a"), run_id="r3")])
    assert list(frame["accuracy_top1"]) == [0.97, 0.5, 0.5]


def test_a_mechanism_whose_accuracy_alone_was_asked_for_has_a_row() -> None:
    assert list(rows([trained("a", 0.97)])["accuracy_top1"]) == [0.97]


def test_rows_of_one_mechanism_are_told_apart_by_the_options_in_which_they_differ() -> None:
    frame = rows([record("a", options={"k": 3, "same": 1}), record("a", options={"k": 5, "same": 1}), record("b")])
    assert list(frame["label"]) == ["a, k=3", "a, k=5", "b"]
    assert json.loads(frame["options"][0]) == {"k": 3, "same": 1}


def labels(*cells: Cell) -> list[str]:
    return rows([Record(cell=cell, status=Status.OK) for cell in cells])["label"].tolist()


def test_a_class_of_a_file_is_labelled_without_its_path_where_that_tells_it_apart():
    mine, same, other = (
        Cell(mechanism=name, height=224, width=224) for name in ("./a.py:Mine", "./b.py:Mine", "./b.py:Other")
    )
    assert labels(mine, other) == ["Mine", "Other"]
    assert labels(mine, same, other) == ["a.py:Mine", "b.py:Mine", "Other"]
    assert labels(mine, Cell(mechanism="Mine", height=224, width=224)) == ["a.py:Mine", "Mine"]


def test_classes_of_one_name_are_labelled_with_as_much_of_their_place_as_tells_them_apart():
    places = ("timm.models.levit", "timm.models.beit", "old/beit.py", "old/a.py", "new/a.py")
    cells = [Cell(mechanism=f"{place}:Attention", height=224, width=224) for place in places]
    assert labels(*cells) == [
        "levit:Attention", "beit:Attention", "beit.py:Attention", "old/a.py:Attention", "new/a.py:Attention",
    ]  # fmt: skip


def test_a_row_goes_by_the_name_that_the_user_gave_it():
    narrow = Cell(alias="ours", mechanism="./a.py:Mine", options={"window": 7, "bias": True}, height=224, width=224)
    wide = replace(narrow, alias="wide", options={"window": 9, "bias": True})
    assert labels(narrow, wide) == ["ours", "wide"]
    assert labels(narrow, replace(wide, alias="ours")) == ["ours, window=7", "ours, window=9"]
    assert labels(replace(narrow, compiled=True)) == ["ours, compiled"]


def test_the_baseline_of_a_ratio_goes_by_its_label():
    cells = [Cell(mechanism=name, height=224, width=224) for name in ("./a.py:Mine", "./a.py:Other")]
    records = [Record(cell=cell, status=Status.OK, metrics={"baseline": "./a.py:Mine"}) for cell in cells]
    assert rows(records)["baseline"].tolist() == ["Mine", "Mine"]


def test_every_column_says_what_it_is() -> None:
    assert [name for name, meaning in MEANINGS.items() if not meaning.says or not meaning.group] == []
    assert set(CSV_COLUMNS) <= set(COLUMNS)


def test_columns_of_axes_name_their_option() -> None:
    assert MEANINGS["res_width"].says.startswith("width of --res: ")
    assert MEANINGS["compiled"].says.startswith("--compile: ")
