"""The sweeps of reference runs ask for what there is."""

import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from attnbench.axes import AXES, texts

SWEEPS = sorted((Path(__file__).parents[2] / "results" / "sweeps").glob("*.toml"))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_kept_sweep_names_mechanisms_and_values_that_there_are(path: Path) -> None:
    asked = tomllib.loads(path.read_text())
    known = {entry.name for entry in entry_points(group="attnbench.mechanisms")}
    assert set(asked["mechanisms"]) <= known
    axes = [name for name in asked if name in AXES]
    assert {"runtime", "batch"} & set(axes)
    for name in axes:
        assert [AXES[name].read(text) for text in texts(asked[name])]
