"""What a row says beside what was measured."""

import hashlib
from dataclasses import replace
from pathlib import Path

from fake_runs import cells, run

from attnbench.record import Status
from attnbench.runs.job import Settings
from attnbench.runs.rows import Rows, samples_of


def test_a_row_says_how_it_was_measured_and_which_file_has_its_timed_calls(tmp_path: Path) -> None:
    (cell,) = cells("a")
    samples = samples_of(tmp_path, cell)
    samples.parent.mkdir()
    samples.write_bytes(b"timed")
    found = run(tmp_path, [cell], timeout_s=17)["a"]
    assert found.settings["timeout_s"] == 17
    assert found.samples_sha256 == hashlib.sha256(b"timed").hexdigest()


def test_what_a_mechanism_prints_is_short_in_its_row(tmp_path: Path) -> None:
    reason = run(tmp_path, cells("prints"))["prints"].reason
    assert "x... (4,096 characters)" in reason
    assert len(reason) < 700


def test_a_machine_is_known_to_be_precise_where_a_cell_of_ours_was_held_against_an_exact_one(tmp_path: Path) -> None:
    rows = Rows(folder=tmp_path, run_id="", settings=Settings(), limits={}, baseline="")
    cell = replace(cells("mhsa")[0], distribution="")
    seen, larger, half = (
        {"verified": "5 of 31, float64 beside"},
        replace(cell, height=512),
        replace(cell, dtype="bfloat16"),
    )
    rows.row(cell, Status.OK, "", {"verified": "5 of 31"}, verified=True)
    rows.row(cell, Status.REJECTED, "wrong", seen, verified=True)
    rows.row(replace(cell, distribution="theirs 1.0"), Status.OK, "", seen, verified=True)
    assert not rows.are_precise([cell])
    rows.row(cell, Status.OK, "", seen, verified=True)
    assert rows.are_precise([cell, larger])
    assert not rows.are_precise([larger, half])
