"""``docs/how-to/write-a-mechanism.md`` tried as it is written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from attnbench.claims import ledger
from attnbench.plugins import names
from attnbench.plugins.registry import from_file
from attnbench.testing import CHECKS

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "write-a-mechanism.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ten-minutes")
    for name, code in re.findall(r"```(?:python|toml)\n# (\w+\.(?:py|claims\.toml))\n(.*?)```", TEXT, re.DOTALL):
        (path / name).write_text(code)
    return path


def python(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_file_of_the_page_is_tried(folder: Path) -> None:
    files = {"theirs.py", "wrapped.py", "others.py", "mine.py", "mine.claims.toml", "test_mine.py", "balanced.py"}
    assert {path.name for path in folder.iterdir()} == files
    assert TEXT.count("```python\n") == 6


def test_its_mechanisms_pass_the_kit_under_the_names_that_it_gives(folder: Path) -> None:
    names = ["./theirs.py:TokenAttention:qkv_bias=on", "./wrapped.py:Biased", "./wrapped.py:Narrow"]
    names += ["./balanced.py:Balanced"]
    names += [f"./others.py:{name}" for name in ("Functional", "Classed", "Inferring")]
    code = f"from attnbench.testing import check_mechanism\nfor name in {names}: check_mechanism(name)"
    python(folder, "-c", code)


def test_its_loss_of_its_own_is_heard(folder: Path) -> None:
    code = """
import torch
from attnbench import Site, auxiliary
from balanced import Balanced

layer = Balanced(Site(height=2, width=2, dim=4, heads=1))
with auxiliary.listening() as losses:
    layer(torch.randn(3, 2, 2, 4))
(loss,) = losses
loss.backward()
assert loss >= 0.01 and layer.choice.weight.grad.abs().max() > 0
"""
    python(folder, "-c", code)


def test_its_tests_pass(folder: Path) -> None:
    assert "3 passed" in python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--benchmark-disable")


def test_its_sweep_runs(folder: Path) -> None:
    small = "--scope layer --stage 4 --depth 1 --dim 24 --heads 3 --max-time 0.1 --threads 1 --baseline none --strict"
    names = "./mine.py:MeanAttention,./theirs.py:TokenAttention"
    shown = python(folder, "-m", "attnbench.cli.main", "run", "--mechanisms", names, *small.split())
    assert "MeanAttention" in shown
    assert "TokenAttention" in shown


def test_its_claims_are_true(folder: Path) -> None:
    (command,) = re.findall(r"^attnbench (claims .*)$", TEXT, re.MULTILINE)
    quick = "--threads 1 --max-time 0.1 --precision 0.2 --device cpu"
    shown = python(folder, "-m", "attnbench.cli.main", *command.split(), *quick.split())
    # How wide the interval of a time gets is up to what else the machine does; that it is judged is not.
    assert re.search(r"mine\.complexity .* reproduced", shown)
    assert re.search(r"mine\.speed +below 0\.5 x +[\d.]+ \[[\d.]+, [\d.]+\] x .*(reproduced|differs)", shown)
    assert "2 claims: " in shown


def test_a_ledger_of_its_package_is_looked_for_where_it_says(folder: Path) -> None:
    package = folder / "packaged"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "attention.py").touch()
    (package / "claims.toml").write_text((folder / "mine.claims.toml").read_text())
    plugin = from_file(package / "attention.py", "MeanAttention")
    assert [claim.id for claim in ledger.find([plugin])] == ["mine.complexity", "mine.speed"]


def test_its_tables_are_complete() -> None:
    named = set(re.findall(r"`([\w-]+)`", TEXT))
    assert set(CHECKS) <= named
    assert set(names.KNOWN) <= named
