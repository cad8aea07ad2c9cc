"""What ``attnbench new`` writes works as it stands: it is installed here by hand, as pip would, and used."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from attnbench import testing
from attnbench.errors import UsageError
from attnbench.plugins import scaffold


def used(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(folder)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a new package, with the metadata beside it that its installation would write."""
    folder = tmp_path_factory.mktemp("work") / "ring"
    scaffold.create("ring-attention", folder)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    metadata = folder / "attnbench_ring_attention-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"].items()
    lines = [
        f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in entries.items()) for group, entries in groups
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return folder


def test_the_files_are_the_layer_its_tests_and_what_makes_it_a_package(tmp_path: Path) -> None:
    written = scaffold.create("mine", tmp_path / "new")
    assert [str(path.relative_to(tmp_path / "new")) for path in written] == [
        "README.md", "mine/attention.py", "mine/__init__.py", "tests/test_mine.py", "pyproject.toml",
        ".gitignore", ".github/workflows/speed.yml",
    ]  # fmt: skip
    assert all("$" not in path.read_text() for path in written[:-1])


def test_its_workflow_measures_it_and_leaves_the_shell_its_variables(tmp_path: Path) -> None:
    *_, workflow = scaffold.create("ring-attention", tmp_path / "new")
    text = workflow.read_text()
    assert "SWEEP: --mechanisms ring-attention --scope layer" in text
    assert set(re.findall(r"\$(\w+|\W)", text)) == {"(", "base", "SWEEP", "GITHUB_BASE_REF", "GITHUB_STEP_SUMMARY"}


def test_its_own_tests_pass(package: Path) -> None:
    options = ("-q", "-W", "error", "-p", "no:cacheprovider", "--benchmark-disable")
    done = used(package, "-m", "pytest", *options)
    assert done.returncode == 0, done.stdout
    assert f"{len(testing.CHECKS) + 3} passed" in done.stdout


def test_it_is_found_by_its_name_and_passes_the_kit(package: Path) -> None:
    code = "from attnbench.testing import check; r = check('ring-attention:qkv_bias=off'); print(r); assert r.passed"
    done = used(package, "-c", code)
    assert done.returncode == 0, done.stderr
    assert (
        f"ring-attention:qkv_bias=off from attnbench-ring-attention 0.1.0: 0 of {len(testing.CHECKS)} checks failed"
        in done.stdout
    )


def test_it_is_listed_with_where_it_comes_from(package: Path) -> None:
    done = used(package, "-m", "attnbench.cli.main", "list", "ring-attention")
    for said in ("What it does, in a sentence", "qkv_bias=True", "attnbench-ring-attention"):
        assert said in done.stdout


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *((name, "write lower-case letters and digits") for name in ("Mine", "1st", "my mechanism", "", "../mine")),
        ("class", "it is a word of Python's own"),
        ("tests", "the folder of its tests"),
        *((name, "its class would be") for name in ("none", "true", "macs", "map")),
        *((name, "there is a package or module of that name") for name in ("attnbench", "torch", "random", "sys")),
    ],
)
def test_a_name_that_no_package_can_have_is_refused_with_the_reason(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"{reason}.*such as ring-attention"):
        scaffold.create(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is a mechanism 'mhsa', from attnbench 0"):
        scaffold.create("mhsa", tmp_path / "new")


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "theirs.txt").write_text("precious")
    with pytest.raises(UsageError, match="is not empty"):
        scaffold.create("mine", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.txt"]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        scaffold.create("mine", tmp_path / "file" / "new")
