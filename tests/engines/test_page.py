"""What the page about clusters shows is right: its profiles are read, and its commands run on a Slurm."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import slurm_cluster
from commands_in_docs import ROOT, blocks

from attnbench import store
from attnbench.engines import site
from attnbench.engines.ray import RayEngine
from attnbench.engines.slurm import SlurmEngine

PAGE = (ROOT / "docs" / "how-to" / "on-a-cluster.md").read_text(encoding="utf-8")
PROFILES = dict(re.findall(r"```toml\n# (\w+\.toml)\n(.*?)```", PAGE, re.DOTALL))


def test_the_profiles_of_the_page_are_read(tmp_path: Path) -> None:
    found = {}
    for name, text in PROFILES.items():
        (tmp_path / name).write_text(text)
        found[name] = site.read(tmp_path / name)
    assert {name: [*each.kinds] for name, each in found.items()} == {
        "site.toml": ["epyc", "xeon"],
        "h100.toml": ["h100"],
        "ray.toml": ["h100"],
    }
    assert found["h100.toml"].options(SlurmEngine, "h100").gres == "gpu:h100:1"
    assert found["ray.toml"].options(RayEngine, "h100").resources == {"accelerator_type:H100": 0.001}


def test_the_page_says_everything_that_a_profile_takes() -> None:
    options = [*SlurmEngine.Options.__dataclass_fields__, *RayEngine.Options.__dataclass_fields__]
    assert [name for name in options if f"`{name}`" not in PAGE and f"{name} = " not in PAGE] == []


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.skipif(bool(slurm_cluster.why_not()), reason=slurm_cluster.why_not())
def test_the_commands_of_the_page_run_one_after_the_other(tmp_path: Path) -> None:
    """As they stand, but for the size of what is measured."""
    (tmp_path / "site.toml").write_text(PROFILES["site.toml"])
    lines = [line for block in blocks(PAGE) for line in block.splitlines()]
    assert [line.split()[:2] for line in lines if line.startswith("attnbench")] == [
        ["attnbench", name] for name in ("run", "run", "status", "report", "verify")
    ]
    with slurm_cluster.slurm() as variables:
        for line in lines:
            small = re.sub(
                r"--res \S+ --max-time \S+", "--res 32 --max-time 0.1 --scope layer --stage 4 --depth 1", line
            )
            done = subprocess.run(
                small, shell=True, cwd=tmp_path, env=os.environ | variables, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            assert (tmp_path / "run").exists() == (not line.endswith("--dry-run") and "sinfo" not in line)
    rows = store.read(tmp_path / "run")
    assert sorted({record.kind for record in rows}) == ["epyc", "xeon"]
    assert len(rows) == len({record.unit for record in rows}) == 6
    cells = json.loads((tmp_path / "run" / "asked.json").read_text())["by_command"]
    assert {record.cell.key for record in rows} == {key for each in cells.values() for key in each}
