"""A sweep in the kernel of a real notebook: one line while it goes on, a table where a cell ends in one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
SWEEP = """
import attnbench

run = attnbench.run(mechanisms=["mhsa"], res=[32], scope="layer", stage=4, depth=1, until="counts", out="here")
"""


def outputs_of(*sources: str, folder: Path) -> list[list[dict]]:
    """Return what a notebook shows below each of its cells, once all have run."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(folder)}}).execute()
    return [cell.outputs for cell in notebook.cells]


@pytest.fixture
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the kernel folders of its own, and this code."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.usefixtures("_own_folders")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")
def test_a_notebook_shows_one_line_while_it_measures_and_the_frame_as_a_table(tmp_path: Path) -> None:
    measuring, showing = outputs_of(SWEEP, "run.frame()[['mechanism', 'params']]", folder=tmp_path)
    (line,) = measuring  # written over, with no output of its own for each thing that was said
    assert re.fullmatch(r"1 of 1 cells; \d+:\d\d so far", line["data"]["text/plain"])
    (table,) = showing
    assert "<table" in table["data"]["text/html"]
