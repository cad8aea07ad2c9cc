"""Cells of a run, chosen, profiled in children of their own, and printed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attnbench import devices
from attnbench.cli.main import attnbench
from attnbench.errors import UsageError
from attnbench.explain import categories
from attnbench.explain.choice import choose
from attnbench.probes import operators
from attnbench.record import Cell, Record, Scope, Status, Task
from attnbench.runtimes.runtime import CannotRunError, Prepared
from attnbench.worker import explaining

PLUGIN = """
import os
import torch
from attnbench.mechanism import Mechanism


class Dies(Mechanism):
    def forward(self, x):
        os.kill(os.getpid(), 11)
"""
CELL = Cell(
    scope=Scope.LAYER, mechanism="mhsa", height=32, width=32, threads=1, stage=4, dim=24, heads=3, depth=2, device="cpu"
)
MHSA = Record(cell=CELL, status=Status.OK, metrics={"latency_median_s": 1e-3})


def row(mechanism: str, status: Status = Status.OK, reason: str = "", **axes: object) -> Record:
    return Record(cell=replace(CELL, mechanism=mechanism, **axes), status=status, reason=reason)


def written(folder: Path, *records: Record) -> Path:
    (folder / "records.jsonl").write_text("".join(f"{record.to_json()}\n" for record in records))
    return folder


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(attnbench, ["explain", str(folder), *arguments])


def test_a_mechanism_is_profiled_and_one_that_dies_costs_the_other_nothing(tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(PLUGIN)
    folder = written(tmp_path, MHSA, row(f"{tmp_path / 'dies.py'}:Dies"))
    done = run(folder, "--json", "--plot", str(tmp_path / "parts.png"))
    assert done.exit_code == 1, done.output
    mhsa, dies = json.loads(done.stdout)["cells"]
    assert "killed by SIGSEGV while profiling" in dies["failure"]
    found = mhsa["profile"]
    ran = {each["name"]: each["launches"] for each in found["operators"]}
    assert ran["aten::native_layer_norm"] == CELL.depth
    assert ran["aten::addmm"] == 2 * CELL.depth
    assert 0 < found["attention_s"] < found["profiled_s"]
    assert sum(each["self_s"] for each in found["categories"].values()) == pytest.approx(found["total_s"])
    assert found["total_s"] == pytest.approx(found["profiled_s"])
    assert (tmp_path / "parts.png").is_file()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("mhsaa", "no cell 'mhsaa' in the run, which has: mhsa; qna; swin, openvino; sra"),
        ("qna", "qna: it ended crashed, killed by SIGSEGV"),
        ("sra", "it was counted and never run"),
    ],
)
def test_what_cannot_be_profiled_is_said_before_anything_starts(tmp_path: Path, asked: str, said: str) -> None:
    crashed = row("qna", Status.CRASHED, "killed by SIGSEGV while building")
    folder = written(tmp_path, MHSA, crashed, row("swin", runtime="openvino"), row("sra", task=Task.COUNTS))
    found = run(folder, asked)
    assert isinstance(found.exception, UsageError)
    assert said in str(found.exception)


def test_without_names_it_is_the_first_comparison_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    crashed = row("qna", Status.CRASHED, "killed")
    many = [row(name) for name in ("swin", "sra", "hilo", "cga", "xca", "linear")]
    found = choose(written(tmp_path, MHSA, crashed, row("xca", height=64, width=64), *many), ())
    assert [record.cell.mechanism for record in found.records] == ["mhsa", "swin", "sra", "hilo", "cga", "xca"]
    assert {record.cell.height for record in found.records} == {32}
    assert found.left_out == "qna (it ended crashed, killed), linear (name up to 6 to see others)"


def test_cells_are_named_by_label_or_key_and_of_one_comparison_where_they_can(tmp_path: Path) -> None:
    large = row("mhsa", height=64, width=64)
    folder = written(tmp_path, large, MHSA, row("qna"))
    assert choose(folder, ("mhsa", "qna")).records == (MHSA, row("qna"))
    assert choose(folder, (large.cell.key[:6],)).records == (large,)


@pytest.mark.parametrize("file", ["parts.svg", "nowhere/parts.png"])
def test_a_plot_that_cannot_be_is_said_first(tmp_path: Path, file: str) -> None:
    found = run(written(tmp_path, MHSA), "--plot", file)
    assert isinstance(found.exception, UsageError)
    assert "--plot" in str(found.exception)


def test_a_folder_without_rows_says_what_makes_some(tmp_path: Path) -> None:
    found = run(written(tmp_path))
    assert isinstance(found.exception, UsageError)
    assert "no rows of costs; attnbench run --out" in str(found.exception)


def test_a_run_that_is_asked_to_explains_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from attnbench.explain import asking
    from attnbench.runs import session

    def measured(request, *, out, **how):
        written(out, MHSA, row("qna", Status.CRASHED, "killed"))
        return session.SessionOutcome(records=(MHSA,), interrupted=False)

    def explain(folder, records, **how):
        yield from (asking.Explained(record=record, failure="not profiled in a test") for record in records)

    monkeypatch.setattr(session, "run", measured)
    monkeypatch.setattr(asking, "explain", explain)
    common = ["run", "--mechanisms", "mhsa", "--isolation", "spawn", "--out", str(tmp_path)]
    silent = CliRunner().invoke(attnbench, common)
    assert (silent.exit_code, "not profiled" in silent.output) == (0, False)
    told = CliRunner().invoke(attnbench, [*common, "--explain"])
    assert told.exit_code == 0, "the run is what it is, whatever comes of the profile"
    assert "not profiled in a test" in told.output
    assert "qna (it ended crashed" in told.output.replace("\n", " ")


def test_a_run_of_which_nothing_can_be_explained_says_so_and_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attnbench.runs import session

    def measured(request, *, out, **how):
        written(out, row("mhsa", task=Task.COUNTS))
        return session.SessionOutcome(records=(MHSA,), interrupted=False)

    monkeypatch.setattr(session, "run", measured)
    common = ["run", "--mechanisms", "mhsa", "--isolation", "spawn", "--out", str(tmp_path), "--explain"]
    found = CliRunner().invoke(attnbench, common)
    assert found.exit_code == 0, found.output
    assert "--explain: mhsa: it was counted and never run" in found.output
    elsewhere = CliRunner().invoke(attnbench, [*common, "--on", "local"])
    assert isinstance(elsewhere.exception, UsageError)
    assert "--explain does nothing with --on" in str(elsewhere.exception)


@pytest.mark.parametrize(("name", "products"), [("onnxruntime", {"Gemm"}), ("openvino", {"FullyConnected"})])
def test_another_runtime_says_what_its_calls_spend_their_time_on(name: str, products: set[str], tmp_path: Path) -> None:
    pytest.importorskip(name)
    large = {"height": 224, "width": 224, "stage": 3, "dim": 192}  # OpenVINO tells whole microseconds
    done = run(written(tmp_path, row("mhsa", runtime=name, **large)), "--json")
    assert done.exit_code == 0, done.output
    (found,) = (each["profile"] for each in json.loads(done.stdout)["cells"])
    ran = {each["name"]: each["launches"] for each in found["operators"] if each["name"] in products}
    assert sum(ran.values()) == 2 * CELL.depth, found["operators"]  # to queries, keys and values, and back
    assert found["categories"]["matrix products"]["self_s"] > 0
    assert found["attention_s"] is None
    assert found["total_s"] == pytest.approx(found["profiled_s"])
    assert "Python between operators" not in found["categories"]


def test_a_runtime_that_does_not_tell_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = Prepared(forward=lambda x: x, export="")
    monkeypatch.setattr(explaining.exporting, "taken_over", lambda *_, **__: silent)
    said: list[dict] = []
    with pytest.raises(CannotRunError, match="openvino does not tell what its calls spend their time on"):
        explaining.explain(replace(CELL, runtime="openvino"), said.append)


def test_what_a_runtime_tells_is_shared_out_over_its_calls() -> None:
    def told_by(calls: int) -> tuple[list[tuple[str, float]], float]:
        return [("Gemm", 0.2), ("Softmax", 0.1)] * calls + [("Gemm", 0.2)] * calls, 0.6 * calls

    found = operators.told(
        lambda: None, told_by, renew=lambda: None, timer=devices.of("cpu").timer(), calls=4, warm_up=0
    )
    assert [(each.name, round(each.self_s, 6), each.launches) for each in found.operators] == [
        ("Gemm", 0.4, 2.0),
        ("Softmax", 0.1, 1.0),
    ]
    assert found.rest_s == pytest.approx(0.1)
    assert categories.seconds(found)[categories.BETWEEN] == pytest.approx(0.1)
