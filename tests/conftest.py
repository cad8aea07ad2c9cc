"""How tests are run: shapes checked, GPU tests by themselves, long ones given their time.

GPU tests run only where there is one, and not beside others, which would take its memory and its time. They are
deselected elsewhere, and said to be.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from shape_checks import check_shapes_of

# A worker's marks would make the pytest that a test starts take itself for one, and switch its benchmarks off.
for mark in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
    del os.environ[mark]

BENCHMARKS = Path(__file__).parent / "benchmarks"
CHECKED = ["attnbench.models", "attnbench.accuracy", "attnbench.mechanisms"]
"""Whose annotations, shapes among them, hold in every call under test; in no child process, and in no benchmark."""
LONG_S = 1800


def pytest_configure(config: pytest.Config) -> None:
    if not all(Path(argument.split("::")[0]).resolve().is_relative_to(BENCHMARKS) for argument in config.args):
        check_shapes_of(CHECKED)


@pytest.fixture(autouse=True)
def _nothing_compiled_before() -> Iterator[None]:
    """What checks shapes has one code object for all functions, of which torch compiles so many before it gives up."""
    yield
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.timeout(LONG_S))
    if torch.cuda.is_available() and not hasattr(config, "workerinput"):
        return
    needing = [item for item in items if item.get_closest_marker("gpu")]
    config.hook.pytest_deselected(items=needing)
    items[:] = [item for item in items if item not in needing]
