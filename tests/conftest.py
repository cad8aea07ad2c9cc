"""GPU tests run only where there is one, and not beside others, which would take its memory and its time.

They are deselected elsewhere, and said to be.
"""

import os

import pytest
import torch

# A worker's marks would make the pytest that a test starts take itself for one, and switch its benchmarks off.
for mark in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
    del os.environ[mark]


LONG_S = 1800


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.timeout(LONG_S))
    if torch.cuda.is_available() and not hasattr(config, "workerinput"):
        return
    needing = [item for item in items if item.get_closest_marker("gpu")]
    config.hook.pytest_deselected(items=needing)
    items[:] = [item for item in items if item not in needing]
