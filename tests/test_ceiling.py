import json
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench import ceiling
from attnbench.record import Cell

CELL = Cell(mechanism="mhsa", height=224, width=224, dtype="float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("run")
    ceiling.measure(found, [CELL], budget_s=0.1)
    return found


def test_the_limits_of_a_machine_are_kept_by_its_environment(folder: Path) -> None:
    ((environment_id, limits),) = ceiling.read(folder).items()
    assert len(environment_id) == 12
    assert limits.device == "cpu"
    assert limits.macs_per_s["float32"] > 0
    assert limits.bytes_per_s > 0


def test_what_is_known_is_not_measured_again(folder: Path) -> None:
    path = folder / ceiling.LIMITS
    before = path.read_bytes()
    ceiling.measure(folder, [CELL], budget_s=0.1)
    assert path.read_bytes() == before


def test_a_type_that_is_asked_for_later_costs_the_others_no_limit(tmp_path: Path) -> None:
    for dtype in ("bfloat16", "float16"):
        (limits,) = ceiling.measure(tmp_path, [replace(CELL, dtype=dtype)], budget_s=0.05).values()
    assert limits.macs_per_s.keys() == {"float32", "bfloat16", "float16"}


def test_a_device_that_cannot_be_measured_has_no_limits(tmp_path: Path) -> None:
    cell = Cell(mechanism="mhsa", height=224, width=224, device="cuda:77")
    assert ceiling.measure(tmp_path, [cell], budget_s=0.1) == {}


def test_a_folder_without_limits_or_with_broken_ones_has_none(tmp_path: Path) -> None:
    assert ceiling.read(tmp_path) == {}
    (tmp_path / ceiling.LIMITS).write_text("{")
    assert ceiling.read(tmp_path) == {}
    (tmp_path / ceiling.LIMITS).write_text(json.dumps({}))
    assert ceiling.read(tmp_path) == {}
