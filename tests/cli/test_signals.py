"""A run that is told to end, or loses its terminal, says what is kept and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import runs

from attnbench import store

HANGS = """
import os
from pathlib import Path
from torch import nn

class Hangs(nn.Module):
    layout = "BHWC"

    def __init__(self, dim):
        super().__init__()

    def forward(self, x):
        if x.device.type != "meta":
            Path(__file__).with_suffix(".pid").write_text(str(os.getpid()))
            while True:
                pass
        return x
"""
COMMAND = ["run", "--mechanisms", "mhsa,hangs.py:Hangs", "--scope", "layer", "--res", "32", "--until", "memory"]
COMMAND += ["--baseline", "none", "--out", "run"]


def started(folder: Path, *, before: tuple[str, ...] = ()) -> tuple[subprocess.Popen[str], int]:
    """Start a run whose second mechanism hangs; return it, once the first has its row, and the number of what hangs."""
    (folder / "hangs.py").write_text(HANGS)
    (folder / "tmp").mkdir()
    command = [*before, sys.executable, "-m", "attnbench", *COMMAND]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    awaited = [folder / "hangs.pid", folder / "run" / "records.jsonl"]
    while not all(path.exists() and path.read_text() for path in awaited):
        assert process.poll() is None
        time.sleep(0.05)
    return process, int((folder / "hangs.pid").read_text())


def gone(pid: int) -> bool:
    while runs(pid):
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("by", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_a_run_that_is_told_to_end_says_what_is_kept_and_leaves_nothing(tmp_path: Path, by: signal.Signals) -> None:
    process, pid = started(tmp_path)
    process.send_signal(by)
    said, _ = process.communicate()
    assert process.returncode == 130
    kept = "1 of 2 cells are kept, and what is known by now of 1 more"
    assert f"interrupted; {kept}; run the same command to resume" in said.splitlines()
    assert gone(pid)
    assert list((tmp_path / "tmp").glob("attnbench-*")) == []
    assert [record.status for record in store.read(tmp_path / "run")] == ["ok"]


@pytest.mark.slow
@pytest.mark.parametrize("gap_s", [0, 0.005, 0.3])
def test_who_interrupts_three_times_is_told_what_is_kept_and_sees_no_traceback(tmp_path: Path, gap_s: float) -> None:
    process, pid = started(tmp_path)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(gap_s)
    said, _ = process.communicate()
    assert process.returncode == 130
    assert "interrupted; " in said
    assert "Traceback" not in said
    assert gone(pid)
    assert [record.status for record in store.read(tmp_path / "run")] == ["ok"]


def test_a_run_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    process, pid = started(tmp_path)
    process.kill()
    process.communicate()
    assert gone(pid)


def test_a_run_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    process, pid = started(tmp_path, before=("nohup",))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert gone(pid)
