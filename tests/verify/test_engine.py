"""A run's folder against the rules: kept runs hold, and figures that are changed are found."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import changed_figures
import pytest
from changed_figures import Change
from click.testing import CliRunner

import attnbench
from attnbench import metrics
from attnbench.cli.main import attnbench as command_line
from attnbench.metrics import Needs
from attnbench.record import CHECKSUM, checksum
from attnbench.selfcheck import kept
from attnbench.selfcheck.kept import places
from attnbench.selfcheck.trials import Result, Trial, Way
from attnbench.verify import verify

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
KEPT = next(REFERENCE.glob("hmhsa+qna-*"))
"""A small run with its pages."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(KEPT, tmp_path / "run"))


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of this version, of the fewest rounds."""
    folder = tmp_path_factory.mktemp("today")
    attnbench.run(
        mechanisms=["qna"],
        res=[32],
        scope="layer",
        stage=4,
        depth=2,
        threads=1,
        precision=1,
        progress=False,
        out=folder,
    ).report()
    return folder


@pytest.mark.parametrize("run", sorted(REFERENCE.iterdir()), ids=lambda run: run.name)
def test_results_hold_to_their_own_rules(run: Path) -> None:
    found = verify(run, counts=False)
    assert [str(each) for each in found.findings] == []
    assert found.figures > 1000


def missed(folder: Path, changes: Iterator[Change]) -> list[str]:
    unseen = []
    for change in changes:
        before = change.path.read_bytes()
        change.path.write_bytes(change.content)
        if verify(folder, counts=False).holds:
            unseen.append(change.figure)
        change.path.write_bytes(before)
    return unseen


def test_each_figure_of_a_line_of_today_is_found_when_it_is_changed(today: Path) -> None:
    assert verify(today, counts=False).findings == ()
    lines = (today / "records.jsonl").read_text().splitlines()
    assert missed(today, changed_figures.of_lines(today / "records.jsonl")) == []
    assert len(lines) == 2


def test_each_sample_and_limit_of_today_is_found_when_it_is_changed(today: Path) -> None:
    path = next((today / "samples").iterdir())
    assert missed(today, changed_figures.of_samples(path)) == []
    assert missed(today, changed_figures.of_json(today / "limits.json")) == []
    assert missed(today, changed_figures.of_json(today / "limits_after.json")) == []
    assert missed(today, changed_figures.of_json(today / "asked.json")) == []


def test_each_figure_of_a_self_check_is_found_when_it_is_changed(today: Path) -> None:
    trial = Trial(truth=1, ratios=dict.fromkeys(Way, 1.0), low=0.9, high=1.1, seconds=1.0, accounted=0.98)
    (place,) = places(attnbench.load(today).records)
    check = Result(
        trials=(trial, trial),
        loaded=False,
        device=place.device,
        threads=place.threads,
        cache="cold",
        description="a layer",
        disturbances=(),
    )
    path = today / kept.SELFCHECK
    before = {each.what for each in verify(today, counts=False).unchecked}
    kept.keep(today, kept.made(check, hardware=place.hardware, command="attnbench selfcheck"))
    attnbench.load(today).report()
    try:
        found = verify(today, counts=False)
        assert found.findings == ()
        assert before - {each.what for each in found.unchecked} == {"self-check"}
        assert missed(today, changed_figures.of_json(path)) == []
    finally:
        path.unlink()
        attnbench.load(today).report()


def test_each_cell_of_a_table_is_found_when_it_is_changed(today: Path) -> None:
    assert missed(today, changed_figures.of_csv(today / "records.csv")) == []


@pytest.mark.parametrize(("column", "found"), [("sdpa", False), ("res_height", True)])
def test_a_column_that_is_missing_is_a_finding_but_for_an_axis_that_came_later(
    today: Path, column: str, found: bool
) -> None:
    path = today / "records.csv"
    before = path.read_text()
    rows = list(csv.DictReader(io.StringIO(before)))
    text = io.StringIO()
    writer = csv.DictWriter(text, [name for name in rows[0] if name != column], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue())
    kept = verify(today, counts=False)
    path.write_text(before)
    assert any(each.figure == column for each in kept.findings) is found
    assert any(each.what == f"records.csv, column {column}" for each in kept.unchecked) is not found


@pytest.mark.parametrize(
    "figure",
    ["latency_median_s", "latency_ci_low_s", "latency_p90_s", "latency_ratio_ci_high", "roofline_fraction", "flops"],
)
def test_what_follows_from_the_samples_is_found_though_the_line_was_sealed_again(today: Path, figure: str) -> None:
    path = today / "records.jsonl"
    before = path.read_text()
    line = json.loads(before.splitlines()[-1])
    line["metrics"][figure] *= 1.01
    path.write_text("\n".join([*before.splitlines()[:-1], json.dumps(line | {CHECKSUM: checksum(line)})]) + "\n")
    findings = verify(today, counts=False).findings
    path.write_text(before)
    assert any(each.figure == figure and each.place.file == path.name for each in findings)


def test_the_command_names_file_row_and_figure_and_fails(copy: Path) -> None:
    path = copy / "records.csv"
    heading, *rows = csv.reader(io.StringIO(path.read_text()))
    first = dict(zip(heading, rows[0], strict=True))
    peak = int(first["memory_peak_bytes"])
    changed = [str(peak + 1) if name == "memory_peak_bytes" else value for name, value in first.items()]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heading, changed, *rows[1:]])
    path.write_text(text.getvalue())
    done = CliRunner().invoke(command_line, ["verify", "--no-counts", str(copy)], standalone_mode=False)
    place = f"records.csv, {first['cell_key']}, {first['run_id']}"
    assert f"{place}: memory_peak_bytes: kept {peak + 1}, worked out {peak}" in done.output
    assert isinstance(done.exception, SystemExit)
    assert done.exception.code == 1


def test_a_rejected_row_has_timed_calls_and_no_figures_of_them(today: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(today, tmp_path / "run"))
    lines = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    rejected = next(line for line in lines if "latency_median_s" in line["metrics"])
    counted = {name for needs in (Needs.COUNTS, Needs.MEMORY) for name in metrics.of(needs)}
    rejected |= {
        "status": "rejected",
        "reason": "another answer than the layer's",
        "metrics": {name: value for name, value in rejected["metrics"].items() if name in counted},
    }
    rejected["sha256"] = checksum(rejected)
    (run / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    samples = f"samples/{rejected['cell_key']}.npz"
    assert (run / samples).is_file()
    assert samples not in " ".join(map(str, verify(run, counts=False).findings))


def test_samples_that_nobody_has_and_rows_that_are_missing_are_found(copy: Path) -> None:
    (copy / "samples" / "0123456789abcdef.npz").write_bytes(b"")
    lines = (copy / "records.jsonl").read_text().splitlines()
    (copy / "records.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    found = {each.place.file for each in verify(copy, counts=False).findings}
    assert "samples/0123456789abcdef.npz" in found
    assert "records.jsonl" in found


def test_a_baseline_by_itself_is_held_to_the_precision_of_its_own_latency(tmp_path: Path) -> None:
    small = {"res": [32], "scope": "layer", "stage": 4, "depth": 1, "threads": 1, "progress": False}
    attnbench.run(mechanisms=["mhsa"], **small, precision=1e-9, max_time=0.01, out=tmp_path).report()
    assert verify(tmp_path, counts=False).findings == ()
