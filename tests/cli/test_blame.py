"""Who is blamed: what is wrong with the installation is said once, and of nobody's mechanism."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WHY = "libcudnn.so.9: cannot open shared object file"


def attnbench(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command where torch does not import."""
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text(f"raise ImportError({WHY!r})\n")
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "attnbench", *arguments],
        cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


@pytest.mark.parametrize(
    "command",
    ["run --mechanisms mhsa,swin,xca --res 32", "run --mechanisms mhsa,swin --res 32 --isolation spawn", "check mhsa"],
)
def test_torch_that_does_not_import_is_said_once(command: str, tmp_path: Path) -> None:
    done = attnbench(*command.split(), folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"attnbench: torch does not import: ImportError: {WHY}; install it anew\n"
    assert not (tmp_path / "results").exists()


def test_the_machine_is_shown_without_torch(tmp_path: Path) -> None:
    done = attnbench("env", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "torch does not import" in done.stdout
    assert "cpu model" in done.stdout
    assert "software python" in done.stdout
