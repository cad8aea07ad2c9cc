"""What a row says beside what was measured."""

import hashlib
from pathlib import Path

from fake_runs import cells, run

from attnbench.runs.rows import samples_of


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
