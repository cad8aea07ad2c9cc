"""The sweeps of reference runs ask for what there is."""

import tomllib
from pathlib import Path

import pytest

from attnbench.axes import AXES, texts

SWEEPS = sorted((Path(__file__).parents[2] / "results" / "sweeps").glob("*.toml"))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_kept_sweep_names_values_that_there_are_and_leaves_no_mechanism_out(path: Path) -> None:
    asked = tomllib.loads(path.read_text())
    assert "mechanisms" not in asked  # all that are installed are measured where none is named
    axes = [name for name in asked if name in AXES]
    assert {"runtime", "batch"} & set(axes)
    for name in axes:
        assert [AXES[name].read(text) for text in texts(asked[name])]
