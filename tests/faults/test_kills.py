"""Kills at moments drawn by lot cost no row that was acknowledged, and leave nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parents[1] / "helpers"
KILLS = 200


@pytest.mark.slow
def test_kills_at_random_moments_lose_no_row_and_the_same_command_goes_on() -> None:
    """In a process of its own, since a process is forked that may have no threads."""
    done = subprocess.run(
        [sys.executable, str(HELPERS / "killed_runs.py"), "--kills", str(KILLS)],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    tally = json.loads(done.stdout)
    assert sum(tally["kills"].values()) == KILLS
    assert tally["acknowledged"] > 0
    assert {name: tally[name] for name in ("lost", "failed", "tracebacks", "left_running", "folders_left")} == {
        "lost": 0,
        "failed": 0,
        "tracebacks": 0,
        "left_running": 0,
        "folders_left": 0,
    }
