"""``records.csv``: every row and every column, as a spreadsheet or pandas reads it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from attnbench import files, inert

_CSV_COLUMNS = """
run_id cell_key started_at mechanism options plugin_distribution scope network res_height res_width dim heads depth
batch mode dtype device hardware threads backend compiled status reason params macs macs_attention flops macs_closed
macs_torch macs_fvcore uncounted_ops memory_peak_bytes memory_saved_bytes latency_median_s latency_ci_low_s
latency_ci_high_s latency_p90_s latency_samples throughput_img_per_s baseline latency_ratio latency_ratio_ci_low
latency_ratio_ci_high accuracy_kind accuracy_top1 accuracy_ci_low accuracy_ci_high accuracy_seeds dataset epochs
environment_id attnbench_version torch_version
"""
CSV_COLUMNS = tuple(_CSV_COLUMNS.split())
"""The columns of ``records.csv`` that always come first and in this order."""


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write every row and column; those of ``CSV_COLUMNS`` come first, and are there even if nothing filled them."""
    others = [column for column in frame.columns if column not in {*CSV_COLUMNS, "machine"}]
    text = as_text(frame.reindex(columns=[*CSV_COLUMNS, *others])).to_csv(index=False, lineterminator="\n")
    files.put(path, text)


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose texts no spreadsheet takes for formulas."""
    texts = frame.select_dtypes(exclude=["number", "bool"])  # the others' type has another name in pandas 2
    # As objects, whole numbers stay whole where some are empty.
    inertly = {
        str(name): pd.Series(_inert(texts[name].tolist()), index=frame.index, dtype=object) for name in texts.columns
    }
    return frame.assign(**inertly)


def _inert(values: list[object]) -> list[object]:
    """Return the values of a column, of which most are no texts or the same text again."""
    if str not in set(map(type, values)):
        return values
    made = {value: inert.spreadsheet(value) for value in {each for each in values if type(each) is str}}
    return [made[value] if type(value) is str else value for value in values]
