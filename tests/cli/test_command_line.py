"""The command line as a user types it, on small maps: what is on the screen, on disk, and the exit status."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from attnbench import store
from attnbench.cli import results
from attnbench.compare import runs
from attnbench.compare.verdict import Comparison, Outcome, Verdict
from attnbench.probes.interval import Estimate
from attnbench.record import Cell

SMALL = [
    "--scope",
    "layer",
    "--stage",
    "4",
    "--depth",
    "2",
    "--dim",
    "24",
    "--heads",
    "3",
    "--max-time",
    "0.2",
    "--threads",
    "1",
]
PLUGIN = """
import os, sys, time
from typing import Any
import torch
from attnbench.mechanism import Macs, Map, Mechanism, Site


class Base(Mechanism):
    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: Map) -> Map:
        if x.device.type != "meta" and type(x) is torch.Tensor:
            self.act()
        return self.scale * x

    def act(self) -> None: ...

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:
        return Macs(projections=0, attention=0)


class Good(Base): ...


class Raises(Base):
    def act(self) -> None:
        raise ArithmeticError("no result today")


class Dies(Base):
    def act(self) -> None:
        os._exit(9)


class Hangs(Base):
    def act(self) -> None:
        open("hanging", "w").close()
        time.sleep(3600)


class Prints(Base):
    def act(self) -> None:
        print("noise from a plugin")
        print("more of it", file=sys.stderr)


class ReturnsOneToken(Base):
    def forward(self, x: Map) -> Map:
        return self.scale * x[:, :1, :1]


class ReturnsNan(Base):
    def forward(self, x: Map) -> Map:
        return self.scale * x * float("nan")


class Leaks(Base):
    kept = []

    def act(self) -> None:
        self.kept.append(torch.zeros(1000))


class SetsThreads(Base):
    def act(self) -> None:
        torch.set_num_threads(2)


class SetsWhileBuilt(Base):
    def __init__(self, site: Site) -> None:
        super().__init__(site)
        torch.set_default_dtype(torch.float64)


class ConstructorRaises(Base):
    def __init__(self, site: Site) -> None:
        raise ArithmeticError("no layer today")


class Plain(torch.nn.Module):
    def __init__(self, embed_dim, num_heads=8):
        super().__init__()
        self.attention = torch.nn.Linear(embed_dim, embed_dim)

    def forward(self, x):
        batch, tokens, channels = x.shape
        return self.attention(x)


class Huge(Base):
    def forward(self, x: Map) -> Map:
        return x + torch.zeros(1 << 44, device=x.device, dtype=torch.uint8)[:1]
"""


def attnbench(*arguments: str, folder: Path, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "attnbench.cli.main", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False,
        env=os.environ | {"COLUMNS": "100", "NO_COLOR": "1"},
    )  # fmt: skip


def row_of(folder: Path, mechanism: str) -> dict[str, str]:
    (path,) = folder.glob("results/*/records.csv")
    with path.open() as file:
        return next(row for row in csv.DictReader(file) if row["mechanism"].endswith(mechanism))


def test_a_sweep_goes_from_the_command_to_table_report_and_plots_and_is_not_run_twice(tmp_path: Path) -> None:
    command = ["run", "--mechanisms", "hmhsa,qna", "--res", "224,512", *SMALL]
    first = attnbench(*command, folder=tmp_path)
    assert first.returncode == 0, first.stderr
    (run,) = (tmp_path / "results").iterdir()
    records = store.read(run)
    assert {(r.cell.mechanism, r.cell.height) for r in records} == {
        (name, res) for name in ("mhsa", "hmhsa", "qna") for res in (224, 512)
    }
    assert {r.status for r in records} == {"ok"}
    for name in ("records.jsonl", "records.csv", "report.md", "plots/latency.png", "plots/latency.svg"):
        assert (run / name).stat().st_size > 0
        assert name in first.stdout
    for record in records:
        assert (run / "samples" / f"{record.cell.key}.npz").exists()
        assert (
            record.metrics["latency_ci_low_s"]
            <= record.metrics["latency_median_s"]
            <= record.metrics["latency_ci_high_s"]
        )
        assert record.metrics["macs_closed"] == record.metrics["macs_torch"] == record.metrics["macs_fvcore"]
        assert record.metrics["memory_peak_bytes"] > 0
        assert record.environment["environment_id"]
    baseline = row_of(tmp_path, "mhsa")
    assert (baseline["is_baseline"], float(baseline["latency_ratio"])) == ("True", 1.0)
    lines = (run / "records.jsonl").read_text()
    again = attnbench(*command, folder=tmp_path)
    assert again.returncode == 0
    assert "6 of 6 cells have their row" in again.stdout
    assert (run / "records.jsonl").read_text() == lines


def test_what_a_plugin_does_costs_the_others_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    expected = {
        "mhsa": "ok", "Good": "ok", "Raises": "failed", "Dies": "crashed", "Hangs": "timeout", "Prints": "ok",
        "Huge": "out-of-memory", "ReturnsOneToken": "failed", "ReturnsNan": "failed", "Leaks": "failed",
        "SetsThreads": "failed", "SetsWhileBuilt": "ok", "ConstructorRaises": "failed", "Plain": "ok",
    }  # fmt: skip
    specs = ",".join(name if name == "mhsa" else f"./mine.py:{name}" for name in expected)
    done = attnbench("run", "--mechanisms", specs, *SMALL, "--timeout", "20", "--strict", folder=tmp_path)
    assert done.returncode == 3, done.stderr
    found = {name: row_of(tmp_path, name) for name in expected}
    assert {name: row["status"] for name, row in found.items()} == expected
    for name, said in {
        "Raises": "ArithmeticError: no result today [mine.py sha256:",
        "Dies": "status 9 while validating",
        "Hangs": "validating took longer than 20 s",
        "Huge": "not started",
        "ReturnsOneToken": "ReturnsOneToken returned (1, 1, 1, 24) for a map of (1, 7, 7, 24)",
        "ReturnsNan": "ReturnsNan returned infinities or what is no number: 1,176 of 1,176 values",
        "Leaks": "keeps 8,000 bytes of tensors more after every call",
        "SetsThreads": "changes torch for everyone: threads from 1 to 2",
        "ConstructorRaises": "ArithmeticError: no layer today",
    }.items():
        assert said in found[name]["reason"], name
        assert found[name]["status"] == "out-of-memory" or "[mine.py sha256:" in found[name]["reason"], name
    undone = {name: row["torch_flags_restored"] for name, row in found.items() if row["torch_flags_restored"]}
    assert undone == {"SetsWhileBuilt": "default dtype from torch.float32 to torch.float64"}
    (page,) = tmp_path.glob("results/*/report.md")
    assert "which was undone" in page.read_text()  # the screen has the gravest notes alone
    assert "noise" not in done.stdout
    for name, row in found.items():
        assert row["params"] != "" or name in {"ConstructorRaises", "ReturnsOneToken"}, name
        assert name in done.stdout


def test_a_limit_on_memory_refuses_before_it_starts(tmp_path: Path) -> None:
    done = attnbench("run", "--mechanisms", "mhsa", *SMALL, "--memory-limit", "1KB", folder=tmp_path)
    assert done.returncode == 0
    row = row_of(tmp_path, "mhsa")
    assert row["status"] == "out-of-memory"
    assert "--memory-limit" in row["reason"]
    assert row["macs"] != ""


def test_what_cannot_be_as_fast_as_is_asked_is_said_before_anything_is_timed(tmp_path: Path) -> None:
    done = attnbench("run", "--mechanisms", "mhsa", *SMALL, "--max-latency", "1ns", folder=tmp_path)
    assert done.returncode == 0
    row = row_of(tmp_path, "mhsa")
    assert row["status"] == "over-budget"
    assert "--max-latency is 1.00 ns; not timed" in row["reason"]
    assert row["macs"] != ""
    assert row["latency_median_s"] == row["memory_peak_bytes"] == ""
    (folder,) = tmp_path.glob("results/*")
    assert attnbench("verify", str(folder), "--no-counts", folder=tmp_path).returncode == 0


def test_training_records_what_is_saved_for_backward(tmp_path: Path) -> None:
    done = attnbench("run", "--mechanisms", "mhsa", *SMALL, "--mode", "train,infer", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("results/*/records.csv")
    with path.open() as file:
        rows = {row["mode"]: row for row in csv.DictReader(file)}
    assert float(rows["train"]["memory_saved_bytes"]) > 0
    assert rows["infer"]["memory_saved_bytes"] == ""
    assert float(rows["train"]["memory_peak_bytes"]) > float(rows["infer"]["memory_peak_bytes"])


def test_interrupting_keeps_what_is_there_and_waits_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    attnbench("run", "--mechanisms", "qna", *SMALL, "--out", "run", "--baseline", "none", folder=tmp_path)
    command = ["run", "--mechanisms", "qna,./mine.py:Hangs", *SMALL, "--out", "run", "--baseline", "none"]
    child = subprocess.Popen(
        [sys.executable, "-m", "attnbench.cli.main", *command], cwd=tmp_path, stdout=subprocess.PIPE
    )
    while not (tmp_path / "hanging").exists():
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate()
    assert child.returncode == 130
    assert b"interrupted; 1 of 2 cells are kept" in said
    assert [record.cell.mechanism for record in store.read(tmp_path / "run")] == ["qna"]


def test_all_mistakes_of_a_command_are_lines_and_status_two(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_the_kind")
    mechanisms = "hmsa,swin:windw=3,swin:window=0,./absent.py:Mine,./broken.py:Mine,qna"
    axes = ["--res", "0,224x,224,224", "--device", "tpu", "--dtype", "float23", "--accuracy", "folder:absent"]
    done = attnbench("run", "--mechanisms", mechanisms, *axes, folder=tmp_path)
    assert done.returncode == 2
    for said in (
        "unknown mechanism 'hmsa'; did you mean hmhsa",
        "unknown option 'windw'; did you mean window?",
        "swin:window=0: ",
        "cannot read absent.py",
        "broken.py sha256:",
        "--res '0': expected pixels",
        "--res '224x': expected pixels",
        "--res: 224x224 is given 2 times",
        "--device 'tpu': torch sees",
        "did you mean float32",
        "--accuracy folder:absent",
    ):
        assert said in done.stderr
    assert all(line.startswith("attnbench: ") for line in done.stderr.splitlines())
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mechanisms", "qna", "--precision", "0"], "--precision"),
        (["--mechanisms", "qna", "--out", "file/run"], "cannot write file/run"),
        (["--mechanisms", "qna", "--out", "newer"], "a newer one is needed"),
        (["absent.toml"], "cannot read absent.toml"),
        (["broken.toml"], "did you mean mechanisms"),
        (["--memory-limit", "much"], "write 500MB or 4GiB"),
        (["--max-latency", "soon"], "expected latency such as 500ms or 1.5s"),
        (["--max-latency", "0ms"], "expected a number above 0"),
        (["--max-latency", "5ms", "--until", "counts"], "--max-latency does nothing without timing"),
        (["--memory-limit", "-5MB"], "write 500MB or 4GiB"),
        (["--memory-limit", "1e999"], "write 500MB or 4GiB"),
    ],
)
def test_what_cannot_be_used_is_a_line_and_status_two(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "broken.toml").write_text('mechanism = "qna"')
    (tmp_path / "file").write_text("")
    (tmp_path / "newer").mkdir()
    newer = tmp_path / "newer" / "records.jsonl"
    newer.write_text('{"format": 99, "cell": {}}\n')
    done = attnbench("run", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert newer.read_text() == '{"format": 99, "cell": {}}\n'


def test_a_toml_file_asks_the_same_as_options_and_options_go_first(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(
        'mechanisms = ["mhsa", "qna"]\nscope = "layer"\nstage = 4\ndepth = 2\ndim = 24\nheads = 3\n'
        "max-time = 0.2\nthreads = 1\nres = [224]\n"
    )
    done = attnbench("run", "sweep.toml", "--mechanisms", "mhsa", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert row_of(tmp_path, "mhsa")["dim"] == "24"
    (run,) = (tmp_path / "results").iterdir()
    assert len(store.read(run)) == 1


def test_a_report_is_made_again_from_several_runs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        attnbench("run", "--mechanisms", "mhsa", *SMALL, "--out", name, folder=tmp_path)
    done = attnbench("report", "a", "b", "--out", "both", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "both" / "report.md").exists()


def test_help_and_list_and_env_work(tmp_path: Path) -> None:
    assert "Measure attention mechanisms" in attnbench("--help", folder=tmp_path).stdout
    listed = attnbench("list", folder=tmp_path).stdout
    for name in ("mhsa", "swin", "hmhsa", "qna", "lavit", "arXiv:2106.03180", "window=7"):
        assert name in listed
    named = attnbench("list", "swin", "convnext_nano", "hat_net_tiny", folder=tmp_path).stdout
    for said in ("shift='cyclic': cyclic, padded, none", "window=7: a whole number", "convnext_nano", "hat_net_tiny"):
        assert said in named
    described = attnbench("env", folder=tmp_path).stdout
    assert "hardware" in described
    assert "software torch" in described
    assert "energy counter" in described


@pytest.mark.parametrize(
    ("outcome", "options", "status"),
    [
        ("undecided", [], 0),
        ("undecided", ["--fail-undecided"], 1),
        ("same", ["--fail-undecided"], 0),
        ("slower", [], 1),
    ],
)
def test_what_is_undecided_fails_a_gate_that_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, outcome: str, options: list[str], status: int
) -> None:
    verdict = Verdict(
        cell=Cell(mechanism="mhsa", height=32, width=32),
        metric="latency_median_s",
        outcome=Outcome(outcome),
        base=1.0,
        head=1.0,
        change=Estimate(value=1.0, low=0.9, high=1.1),
    )
    monkeypatch.setattr(runs, "compare", lambda *_, **__: Comparison(verdicts=(verdict,)))
    assert CliRunner().invoke(results.compare, ["a", "b", *options]).exit_code == status
