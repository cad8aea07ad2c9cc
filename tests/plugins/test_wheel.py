"""What the wheel holds, and what it does where nothing else of attnbench is."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from installations import (
    OFFLINE,
    PIP,
    ROOT,
    activated,
    build_wheel,
    copy_sources,
    install,
    make_environment,
    site_packages,
)

MINE = """
from torch import nn


class Mine(nn.Linear):
    layout = "BNC"

    def __init__(self, dim):
        super().__init__(dim, dim)
"""


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
    ours = {path.relative_to(ROOT) for path in (ROOT / "attnbench").rglob("*") if path.is_file()}
    ours |= {"attnbench" / path.relative_to(ROOT) for path in (ROOT / "mechanisms").rglob("*") if path.is_file()}
    assert held == {str(path) for path in ours if "__pycache__" not in path.parts}
    assert {
        "attnbench/py.typed",
        "attnbench/mechanisms/py.typed",
        "attnbench/plugins/templates/workflow.yml.tmpl",
    } <= held
    assert {f"attnbench/report/html/{name}" for name in ("report.html.jinja", "plots.js", "vega/vega.min.js")} <= held
    assert "attnbench/mechanisms/mhsa/claims.toml" in held


@pytest.mark.slow
def test_it_can_be_built_from_the_source_distribution(python: Path, wheel: Path, tmp_path: Path) -> None:
    """Which has no link: the folder lies in it where it is installed."""
    copy_sources(tmp_path)
    code = "import sys, setuptools.build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"
    subprocess.run([python, "-c", code, "build_sdist", "dist"], cwd=tmp_path, env=PIP, capture_output=True, check=True)
    (source,) = (tmp_path / "dist").iterdir()
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path / "apart", filter="data")
    (tree,) = (tmp_path / "apart").iterdir()
    subprocess.run([python, "-c", code, "build_wheel", "dist"], cwd=tree, env=PIP, capture_output=True, check=True)
    (again,) = (tree / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert set(first.namelist()) == set(second.namelist())


@pytest.mark.slow
def test_it_lists_what_the_checkout_lists(installed: Path, tmp_path: Path) -> None:
    from_wheel = said("attnbench", "list", folder=tmp_path, environment=activated(installed))
    here = said(sys.executable, "-m", "attnbench.cli.main", "list", folder=ROOT, environment=dict(os.environ))
    assert from_wheel == here
    assert "hmhsa" in here


@pytest.mark.slow
def test_it_is_the_installed_code_that_runs(installed: Path, tmp_path: Path) -> None:
    code = "import attnbench, attnbench.mechanisms as m; print(attnbench.__file__, m.__file__)"
    files = said("python", "-c", code, folder=tmp_path, environment=activated(installed)).split()
    assert all(Path(file).is_relative_to(site_packages(installed)) for file in files)


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has attnbench from a checkout, as ``pip install -e`` puts it there."""
    folder = tmp_path_factory.mktemp("checkout")
    python, sources = make_environment(folder / "env"), folder / "sources"
    sources.mkdir()
    command = [python, "-m", "pip", "install", *OFFLINE, "--no-deps", "--no-build-isolation", "-e"]
    subprocess.run([*command, copy_sources(sources)], check=True, env=PIP)
    return python


@pytest.mark.slow
@pytest.mark.parametrize("how", ["installed", "editable"])
def test_a_folder_called_mechanisms_is_the_users_and_the_built_ins_are_there(
    how: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environment = activated(request.getfixturevalue(how)) | {"PYTHONPATH": "."}
    (tmp_path / "mechanisms").mkdir()
    (tmp_path / "mechanisms" / "mine.py").write_text(MINE)
    (tmp_path / "mechanisms" / "__init__.py").touch()  # so that Python looks no further
    code = "import mechanisms.mine as m; print(m.__file__)"
    assert "mine.py" in said("python", "-c", code, folder=tmp_path, environment=environment)
    asked = ("--mechanisms", "mechanisms.mine:Mine,mhsa,swin", "--scope", "layer", "--res", "32", "--until", "counts")
    shown = said("attnbench", "run", *asked, "--strict", "--out", "out", folder=tmp_path, environment=environment)
    assert all(name in shown for name in ("Mine", "mhsa", "swin"))


@pytest.mark.slow
def test_a_new_package_can_be_started_from_it(installed: Path, tmp_path: Path) -> None:
    written = said("attnbench", "new", "mine", folder=tmp_path, environment=activated(installed)).split()
    assert all((tmp_path / path).read_text() for path in written)
