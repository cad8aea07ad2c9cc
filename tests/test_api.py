"""Sweeps from Python: what is asked by the axes' names gives what the command line gives."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import attnbench
from attnbench import api
from attnbench.axes import AXES
from attnbench.cli.main import attnbench as command_line
from attnbench.cli.measuring import run as run_command
from attnbench.errors import StoreError, UsageError
from attnbench.plan.given import known_names
from attnbench.record import Status

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "results" / "reference" / "hmhsa+qna-224+512-amd-epyc-2-cores"
BUSY_BEFORE = ROOT / "results" / "reference" / "cpu-runtimes-amd-epyc-1-core"
"""A run whose machine was faster after it than before it."""
SWEEP = """
import attnbench

run = attnbench.run(
    mechanisms=["mhsa"], res=[32], scope="layer", stage=4, depth=1, until="counts", progress=False, out="here"
)
assert run.frame()["params"].notna().all(), run.frame()
print(len(run.records), "records")
"""


def test_a_script_without_a_guard_measures_once_and_prints_nothing_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "sweep.py").write_text(SWEEP)
    for _ in range(2):  # the second time every cell has its row
        done = subprocess.run([sys.executable, "sweep.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.stdout, done.returncode) == ("1 records\n", 0), done.stderr
    assert "--until counts" in (tmp_path / "here" / "asked.json").read_text()

    loaded = attnbench.load(tmp_path / "here")
    assert repr(loaded) == f"Run(1 record, {tmp_path / 'here'})"
    assert loaded.report(tmp_path / "page").read_text().count("attnbench run --mechanisms mhsa") == 1
    assert "mhsa" in loaded.table(width=80)


def test_what_is_on_disk_is_loaded_as_records_and_as_a_frame() -> None:
    kept = attnbench.load(KEPT)
    frame = kept.frame()
    assert len(kept.records) == len(frame) > 4
    assert not kept.failed
    assert {"mechanism", "res_height", "latency_median_s", "sdpa"} <= set(frame.columns)
    written = pd.read_csv(KEPT / "records.csv")
    assert list(frame["cell_key"]) == list(written["cell_key"])
    assert "<table" in kept._repr_html_()
    assert all(line == line.rstrip("\n") and len(line) <= 100 for line in kept.table(width=100).splitlines())


@pytest.mark.parametrize("folder", [KEPT, BUSY_BEFORE], ids=["quiet", "busy"])
def test_rows_are_bounded_in_a_frame_as_in_the_table_on_disk(folder: Path) -> None:
    loaded = attnbench.load(folder)
    frame, written = loaded.frame(), pd.read_csv(folder / "records.csv")
    for column in ("latency_bound_s", "roofline_fraction"):
        assert list(frame[column].astype(float)) == pytest.approx(list(written[column]), nan_ok=True)
    kept = [record.metrics.get("latency_bound_s") for record in loaded.records]
    assert (kept != list(frame["latency_bound_s"])) == (folder == BUSY_BEFORE), "a record stays as it is"


def test_several_runs_are_loaded_as_one() -> None:
    assert len(attnbench.load(KEPT, KEPT).records) == 2 * len(attnbench.load(KEPT).records)
    with pytest.raises(UsageError, match="needs the folder of a run"):
        attnbench.load()
    with pytest.raises(StoreError, match="cannot read"):
        attnbench.load("nowhere")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"mechanism": "mhsa"}, "no 'mechanism'; did you mean mechanisms"),
        ({"mechanisms": "mhsa", "dtype": "float23", "until": "counts"}, "--dtype 'float23': did you mean float32"),
        ({"mechanisms": "mhsa", "max_time": "long"}, "max_time: expected a number, got 'long'"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_runs(asked: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        attnbench.run(**asked, progress=False)


def test_every_option_of_the_command_line_that_asks_for_something_can_be_asked_from_python() -> None:
    own = {"out", "fresh", "retry", "hardware", "require_idle"}  # of attnbench.run, whatever is asked for
    shell = {"sweep_file", "strict", "explain", "on", "site", "machines", "dry_run"}  # what a command reads or starts
    options = {parameter.name for parameter in run_command.params} - own - shell
    assert options == set(known_names())
    assert set(AXES) <= options
    assert command_line.commands["run"] is run_command


def test_the_command_that_measures_the_same_is_kept() -> None:
    asked = {"mechanisms": ["hmhsa", "./my file.py:A"], "res": [224, 512], "compile": True, "energy": True, "dim": None}
    assert api._typed(asked, "x") == (
        "attnbench run --mechanisms 'hmhsa,./my file.py:A' --res 224,512 --compile on --energy --out x"
    )


def test_a_run_says_what_failed() -> None:
    records = attnbench.load(KEPT).records
    broken = tuple(replace(record, status=Status.FAILED, reason="why") for record in records[:1])
    run = api.Run(folders=(KEPT,), records=broken, interrupted=True)
    assert run.failed == broken
    assert repr(run).endswith("interrupted)")


@pytest.mark.parametrize("scope", ["layer", "backbone"])
def test_columns_that_are_functions_of_each_other_agree(scope: str, tmp_path: Path) -> None:
    run = attnbench.run(
        mechanisms=["mhsa", "qna"],
        scope=scope,
        res=[64],
        batch=3,
        threads=1,
        max_time=0.2,
        out=tmp_path,
        progress=False,
    )
    for row in run.frame().itertuples():
        assert row.throughput_img_per_s == pytest.approx(row.batch / row.latency_median_s)
        assert row.flops == 2 * row.macs
        assert row.macs == row.macs_closed == row.macs_torch
        assert row.roofline_fraction == pytest.approx(row.latency_bound_s / row.latency_median_s)
        assert row.latency_ci_low_s <= row.latency_median_s <= row.latency_ci_high_s
        assert (row.latency_ratio == 1) == bool(row.is_baseline)
