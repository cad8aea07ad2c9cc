from __future__ import annotations

import pandas as pd
import pytest
from records_for_reports import BUILT_IN, default_run, failed, row

from attnbench.report.comparison import comparisons, constants, prepared


def titles(frame):
    return [each.title for each in comparisons(prepared(frame))]


def test_there_is_a_comparison_for_each_resolution_the_smallest_first():
    frame = pd.DataFrame([row("mhsa", 512), row("mhsa", 224), row("mhsa", 224, 448), row("swin", 224)])
    assert titles(frame) == ["resolution 224", "resolution 224x448", "resolution 512"]


@pytest.mark.parametrize(
    ("axis", "value", "phrase"),
    [
        ("dtype", "bfloat16", "bfloat16"),
        ("mode", "train", "train"),
        ("batch", 64, "batch 64"),
        ("device", "cuda", "cuda"),
        ("scope", "layer", "layer"),
        ("threads", 4, "threads 4"),
        ("hardware", "H200", "H200"),
        ("run_id", "r2", "run r2"),
    ],
)
def test_rows_that_differ_in_anything_but_the_mechanism_are_not_compared(axis, value, phrase):
    frame = pd.concat([pd.DataFrame([row("mhsa"), row("swin")]), pd.DataFrame([row("mhsa", **{axis: value})])])
    rows = prepared(frame)
    first, second = comparisons(rows)
    assert list(rows["label"].iloc[first.places]) == ["mhsa", "swin"]
    assert list(rows["label"].iloc[second.places]) == ["mhsa"]
    assert second.conditions == (phrase,)


def test_a_sweep_that_was_resumed_is_one_sweep():
    frame = pd.DataFrame([row("mhsa"), row("swin", run_id="r2"), row("mhsa", 448, run_id="r2")])
    rows = prepared(frame)
    first, second = comparisons(rows)
    assert (first.title, second.title) == ("resolution 224, rows of 2 runs", "resolution 448")
    assert list(rows["label"].iloc[first.places]) == ["mhsa", "swin"]


def test_compiled_and_plain_forms_are_compared():
    frame = pd.DataFrame([row(), row(label="mhsa, compiled", compiled=True)])
    assert len(comparisons(prepared(frame))) == 1


def test_a_number_is_named_without_a_point_even_where_the_column_holds_floats():
    frame = pd.DataFrame([row(stage=3, scope="layer"), row()])
    assert titles(frame)[0] == "resolution 224, layer, stage 3"


def test_what_all_rows_share_is_named_once():
    assert constants(prepared(default_run())) == (
        "backbone",
        "infer",
        "float32",
        "batch 1",
        "cpu",
        "Xeon 8480, 2 cores",
        "threads 2",
    )


def test_a_cell_whose_worker_died_stays_among_those_of_its_run():
    here = [row(), failed("swin", 224, "crashed", "killed by signal 9")]
    there = [row(run_id="r2", hardware="H200", environment_id="b")]
    rows = prepared(pd.DataFrame([*here, *there]))
    first, _ = comparisons(rows)
    assert list(rows["label"].iloc[first.places]) == ["mhsa", "swin"]


def test_one_hardware_with_two_environments_is_two_machines():
    frame = pd.DataFrame([row(), row(environment_id="e2", run_id="r2")])
    assert titles(frame) == [
        "resolution 224, Xeon 8480, 2 cores (e1f0)",
        "resolution 224, Xeon 8480, 2 cores (e2)",
    ]


def test_columns_that_are_missing_or_hold_pandas_own_nothing_read_as_empty():
    frame = pd.DataFrame([row(), row("swin")])[["label", "res_height", "res_width", "status"]]
    frame["params"] = pd.array([1, None], dtype="Int64")
    rows = prepared(frame)
    assert rows["params"].tolist() == [1, None]
    assert rows["latency_median_s"].tolist() == [None, None]


def test_nothing_recorded_makes_no_comparison():
    assert comparisons(prepared(default_run().iloc[:0])) == []
    assert comparisons(prepared(pd.DataFrame())) == []


def test_rows_keep_the_order_in_which_they_were_run():
    rows = prepared(pd.DataFrame([row(name) for name in BUILT_IN]))
    (only,) = comparisons(rows)
    assert tuple(rows["label"].iloc[only.places]) == BUILT_IN


def test_heads_of_dense_tasks_are_never_in_one_table_with_the_classifier():
    frame = pd.DataFrame([row("resnet18"), row("resnet18", head="segmentation")])
    assert [each.conditions for each in comparisons(prepared(frame))] == [(), ("segmentation",)]


def test_a_machine_measured_with_several_numbers_of_threads_is_one_machine():
    frame = pd.DataFrame([row(threads=1, environment_id="e1"), row(threads=2, environment_id="e2")])
    assert set(prepared(frame)["machine"]) == {"Xeon 8480, 2 cores"}
    assert titles(frame) == ["resolution 224, threads 1", "resolution 224, threads 2"]
