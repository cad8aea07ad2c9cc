"""A Slurm of two made-up nodes comes to the cells that one machine comes to, whoever is killed and whatever is lost."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import engine_runs
import pytest
import slurm_cluster

from attnbench.store import parts
from attnbench.verify import verify

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(slurm_cluster.why_not()), reason=slurm_cluster.why_not()),
    pytest.mark.timeout(900),
]
SITE = """
[slurm]
partition = "all"

[kinds.box]
device = "cpu"

[kinds.made-up]
device = "cpu"

[kinds.made-up.slurm]
constraint = "made_up"
gres = "gpu:made:1"
"""
ON_SLURM = (*engine_runs.ON_KINDS, "--on", "slurm", "--site", "site.toml", "--out", "run")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[dict[str, str]]:
    (tmp_path / "site.toml").write_text(SITE)
    with slurm_cluster.slurm() as variables:
        yield variables


def asked(cluster: dict[str, str], *command: str) -> list[str]:
    done = subprocess.run(command, env=os.environ | cluster, capture_output=True, text=True, check=True)
    return done.stdout.split()


def jobs(cluster: dict[str, str], *states: str) -> list[str]:
    """Return the jobs of Slurm in some states."""
    return asked(cluster, "squeue", "-h", "-r", "-o", "%i", *([f"--states={','.join(states)}"] if states else []))


def wait(until: Callable[[], object]) -> None:
    while not until():
        time.sleep(0.2)


def test_two_nodes_come_to_the_cells_of_one_machine_though_submitter_and_a_job_are_killed(
    tmp_path: Path, cluster: dict[str, str]
) -> None:
    words = ("run", *ON_SLURM, "--hardware", "box,made-up,gone=cpu")
    with engine_runs.start(*words, folder=tmp_path, variables=cluster) as submitter:
        wait(lambda: len(jobs(cluster)) == 2 or submitter.poll() is not None)
        submitter.kill()
    begun = jobs(cluster)
    assert len(begun) == 2
    asked(cluster, "scancel", begun[0])  # as a partition does that preempts and does not requeue
    printed = engine_runs.said(*words, folder=tmp_path, variables=cluster)

    assert "gone: no machine: sbatch says of gone: " in printed
    assert printed.count(": started job ") == 1, "the job that was left goes on, and the other one is started anew"
    rows = engine_runs.by_kind(tmp_path / "run", absent={"gone"})
    one_machine = engine_runs.by_hand(tmp_path)
    assert rows == {"box": one_machine, "made-up": one_machine}
    assert jobs(cluster) == []
    assert all(verify(part, counts=False).holds for part in parts.of(tmp_path / "run"))


@pytest.mark.slow
def test_jobs_that_are_preempted_go_on_in_the_queue_without_anybody(tmp_path: Path, cluster: dict[str, str]) -> None:
    """Slurm holds a job for two minutes before it starts it again."""
    words = ("run", *ON_SLURM, "--hardware", "box,made-up")
    with engine_runs.start(*words, folder=tmp_path, variables=cluster) as submitter:
        wait(lambda: len([*(tmp_path / "run" / "workers").glob("*")]) == 2 or submitter.poll() is not None)
        submitter.kill()
    box, made_up = jobs(cluster, "RUNNING")
    asked(cluster, "sbatch", "--partition=first", "--nodelist=n1", "--exclusive", "--wrap=sleep 1")
    asked(cluster, "scancel", "--signal=USR2", made_up)  # as Slurm warns of the end of a job's time
    wait(lambda: {box, made_up} <= {*jobs(cluster, "PENDING")})
    wait(lambda: not jobs(cluster))
    one_machine = engine_runs.by_hand(tmp_path)
    assert engine_runs.by_kind(tmp_path / "run") == {"box": one_machine, "made-up": one_machine}
