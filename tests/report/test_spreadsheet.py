from __future__ import annotations

import pandas as pd
from records_for_reports import default_run

from attnbench.report.comparison import prepared
from attnbench.report.spreadsheet import CSV_COLUMNS, write_csv


def as_number(text):
    """What Python reads: pandas before 3 drops a last digit."""
    return float(text or "nan")


def test_the_csv_has_the_agreed_columns_first_then_the_others(tmp_path):
    frame = default_run().assign(recompilations=0)
    write_csv(prepared(frame), tmp_path / "records.csv")
    found = pd.read_csv(tmp_path / "records.csv")
    assert tuple(found.columns[: len(CSV_COLUMNS)]) == CSV_COLUMNS
    assert set(found.columns) == {*CSV_COLUMNS, *prepared(frame).columns} - {"machine"}
    assert CSV_COLUMNS[:3] == ("run_id", "cell_key", "started_at")
    assert CSV_COLUMNS[-1] == "torch_version"


def test_the_csv_keeps_every_digit_and_leaves_empty_what_was_not_measured(tmp_path):
    frame = default_run()
    write_csv(prepared(frame), tmp_path / "records.csv")
    found = pd.read_csv(tmp_path / "records.csv", converters={"latency_median_s": as_number})
    pd.testing.assert_series_equal(found["latency_median_s"], frame["latency_median_s"], check_exact=True)
    assert found["accuracy_top1"].isna().all()
