"""What the wheel holds, and what it does where nothing else of attnbench is."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from installations import ROOT, activated, build_wheel, install, make_environment, site_packages


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("elsewhere") / "env")


@pytest.fixture(scope="module")
def wheel(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(python, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(python: Path, wheel: Path) -> Path:
    install(python, wheel)
    return python


def said(*command: str | Path, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [*command], cwd=folder, env=environment | {"COLUMNS": "120"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_it_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = [path for package in ("attnbench", "mechanisms") for path in (ROOT / package).rglob("*") if path.is_file()]
    assert held == {str(path.relative_to(ROOT)) for path in ours if "__pycache__" not in path.parts}
    assert {"attnbench/py.typed", "mechanisms/py.typed", "attnbench/plugins/templates/workflow.yml.tmpl"} <= held
    assert {f"attnbench/report/html/{name}" for name in ("report.html.jinja", "plots.js", "vega/vega.min.js")} <= held
    assert "mechanisms/mhsa/claims.toml" in held


@pytest.mark.slow
def test_it_lists_what_the_checkout_lists(installed: Path, tmp_path: Path) -> None:
    from_wheel = said("attnbench", "list", folder=tmp_path, environment=activated(installed))
    here = said(sys.executable, "-m", "attnbench.cli.main", "list", folder=ROOT, environment=dict(os.environ))
    assert from_wheel == here
    assert "hmhsa" in here


@pytest.mark.slow
def test_it_is_the_installed_code_that_runs(installed: Path, tmp_path: Path) -> None:
    code = "import attnbench, mechanisms; print(attnbench.__file__, mechanisms.__file__)"
    files = said("python", "-c", code, folder=tmp_path, environment=activated(installed)).split()
    assert all(Path(file).is_relative_to(site_packages(installed)) for file in files)


@pytest.mark.slow
def test_a_new_package_can_be_started_from_it(installed: Path, tmp_path: Path) -> None:
    written = said("attnbench", "new", "mine", folder=tmp_path, environment=activated(installed)).split()
    assert all((tmp_path / path).read_text() for path in written)
