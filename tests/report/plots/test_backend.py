"""Figures where matplotlib is told to use what is not installed beside attnbench."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import os, sys
from attnbench.report import plots
assert "matplotlib" in sys.modules
print(os.environ["MPLBACKEND"])
"""


def test_the_backend_of_a_notebook_does_not_keep_figures_from_being_drawn() -> None:
    asked = "module://of_a_notebook.backend_inline"
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=os.environ | {"MPLBACKEND": asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == asked  # it is left for whoever set it
