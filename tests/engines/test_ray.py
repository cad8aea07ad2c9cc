"""A Ray cluster of three made-up machines comes to the cells that one machine comes to, though one of them is lost."""

from __future__ import annotations

import time
from pathlib import Path

import engine_runs
import pytest
import ray_cluster

from attnbench.store import parts
from attnbench.verify import verify

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(bool(ray_cluster.why_not()), reason=ray_cluster.why_not()),
    pytest.mark.timeout(900),
]
SITE = """
[ray]
address = "{address}"

[kinds.box]
device = "cpu"
machines = 2

[kinds.made-up]
device = "cpu"

[kinds.made-up.ray]
resources = {{ rare = 1 }}
"""


def test_a_cluster_comes_to_the_cells_of_one_machine_though_a_machine_of_it_is_lost(tmp_path: Path) -> None:
    words = ("run", *engine_runs.ON_KINDS, "--on", "ray", "--site", "site.toml", "--out", "run")
    with ray_cluster.ray_cluster("box", "box", "rare") as cluster:
        (tmp_path / "site.toml").write_text(SITE.format(address=cluster.address))
        with engine_runs.start(*words, "--hardware", "box,made-up,gone=cpu", folder=tmp_path) as driver:
            while len([*(tmp_path / "run" / "workers").glob("*")]) < 3 and driver.poll() is None:
                time.sleep(0.2)
            cluster.lose(0)
            printed, _ = driver.communicate()
    assert driver.returncode == 0, printed
    assert "gone: no machine: none of the " in printed
    rows = engine_runs.by_kind(tmp_path / "run", absent={"gone"})
    one_machine = engine_runs.by_hand(tmp_path)
    assert rows == {"box": one_machine, "made-up": one_machine}
    assert all(verify(part, counts=False).holds for part in parts.of(tmp_path / "run"))
