import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.record import Cell
from attnbench.roofline import MachineLimits
from attnbench.runs import limits as machine_limits
from attnbench.runs.job import SPAWN

CELL = Cell(mechanism="mhsa", height=224, width=224, dtype="float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("run")
    machine_limits.measure(found, [CELL], budget_s=0.1)
    return found


def test_the_limits_of_a_machine_are_kept_by_its_environment(folder: Path) -> None:
    ((environment_id, limits),) = machine_limits.read(folder).items()
    assert len(environment_id) == 12
    assert limits.device == "cpu"
    assert limits.macs_per_s["float32"] > 0
    assert limits.bytes_per_s > 0


def test_what_is_known_is_not_measured_again(folder: Path) -> None:
    path = folder / machine_limits.LIMITS
    before = path.read_bytes()
    machine_limits.measure(folder, [CELL], budget_s=0.1)
    assert path.read_bytes() == before


def test_a_type_that_is_asked_for_later_costs_the_others_no_limit(tmp_path: Path) -> None:
    for dtype in ("bfloat16", "float16"):
        (limits,) = machine_limits.measure(tmp_path, [replace(CELL, dtype=dtype)], budget_s=0.05).values()
    assert limits.macs_per_s.keys() == {"float32", "bfloat16", "float16"}


def test_after_a_run_all_is_measured_again_and_roofs_are_the_higher_of_both(folder: Path) -> None:
    before = (folder / machine_limits.LIMITS).read_bytes()
    for _ in range(2):
        (after,) = machine_limits.measure_after(folder, [CELL], budget_s=0.05).values()
    assert (folder / machine_limits.LIMITS).read_bytes() == before
    ((key, first),) = machine_limits.read(folder).items()
    faster = replace(after, macs_per_s={"float32": 2 * first.macs_per_s["float32"]}, bytes_per_s=1.0, conditions="load")
    machine_limits.write_after(folder / machine_limits.AFTER, {key: faster})
    roof = machine_limits.roofs(folder)[key]
    assert roof.rate("float32") == 2 * first.rate("float32")
    assert roof.bytes_per_s == first.bytes_per_s
    assert roof.conditions.startswith("the higher of two taken before the run")
    assert roof.conditions.endswith(" and after it (load)")


def test_a_part_of_a_run_on_a_busy_machine_keeps_what_an_earlier_part_reached(folder: Path) -> None:
    ((key, first),) = machine_limits.measure_after(folder, [CELL], budget_s=0.05).items()
    reached = replace(first, macs_per_s={"float32": 1e15, "bfloat16": 2e15}, bytes_per_s=1.0, conditions="load")
    elsewhere = replace(first, macs_per_s={"float32": 3.0})
    machine_limits.write_after(folder / machine_limits.AFTER, {key: reached, "elsewhere": elsewhere})
    found = machine_limits.measure_after(folder, [CELL], budget_s=0.05)
    assert found == machine_limits.read_after(folder)
    assert found[key].macs_per_s == {"float32": 1e15, "bfloat16": 2e15}
    assert found[key].bytes_per_s > 1.0
    assert found[key].conditions.startswith("load")
    assert found["elsewhere"] == elsewhere


def test_without_a_second_look_the_roof_is_that_of_before(tmp_path: Path) -> None:
    known = MachineLimits(device="cpu", threads=1, macs_per_s={"float32": 1e9}, bytes_per_s=1e9, conditions="load")
    (tmp_path / machine_limits.LIMITS).write_text(json.dumps({"here": known.to_dict()}))
    assert machine_limits.roofs(tmp_path) == {"here": replace(known, conditions="taken before the run (load)")}
    (tmp_path / machine_limits.AFTER).write_text("{")
    with pytest.warns(UserWarning, match=r"limits_after\.json, line 1: .*; the limits after the run are not known"):
        assert machine_limits.read_after(tmp_path) == {}


def test_a_machine_that_cannot_be_measured_after_a_run_costs_a_warning(tmp_path: Path) -> None:
    cell = Cell(mechanism="mhsa", height=224, width=224, device="cuda:77")
    with pytest.warns(UserWarning, match="limits of cuda:77 are those from before the run alone: the process ended"):
        machine_limits.measure_after(tmp_path, [cell], budget_s=0.1)


def test_each_number_of_threads_has_limits_of_its_own(tmp_path: Path) -> None:
    cells = [replace(CELL, threads=threads) for threads in (1, 2)]
    assert len(machine_limits.measure(tmp_path, cells, budget_s=0.05)) == 2


def test_a_device_that_cannot_be_measured_has_no_limits_and_why_is_said(tmp_path: Path) -> None:
    cell = Cell(mechanism="mhsa", height=224, width=224, device="cuda:77")
    with pytest.warns(UserWarning, match="rows on cuda:77 get no bound: the process ended with status 1 while"):
        assert machine_limits.measure(tmp_path, [cell], budget_s=0.1) == {}


@pytest.mark.parametrize(
    ("act", "timeout_s", "said"),
    [
        ("os.kill(os.getpid(), 35)", 100, "killed by signal 35 while measuring what cpu can do"),
        ("time.sleep(3600)", 0.5, "measuring what cpu can do took longer than 0.5 s"),
    ],
)
def test_a_child_that_dies_or_hangs_costs_the_bounds_only(
    act: str, timeout_s: float, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "measures_nothing.py").write_text(f"import os, time; {act}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.warns(UserWarning, match=f"rows on cpu get no bound: {said}"):
        found = machine_limits.measure(
            tmp_path, [CELL], budget_s=0.1, timeout_s=timeout_s, isolation=SPAWN, module="measures_nothing"
        )
    assert found == {}


def test_a_folder_without_limits_or_with_broken_ones_has_none(tmp_path: Path) -> None:
    assert machine_limits.read(tmp_path) == {}
    (tmp_path / machine_limits.LIMITS).write_text("{")
    with pytest.warns(UserWarning, match=r"limits\.json, line 1: not JSON.*; the limits of the machine are not known"):
        assert machine_limits.read(tmp_path) == {}
    (tmp_path / machine_limits.LIMITS).write_text(json.dumps({}))
    assert machine_limits.read(tmp_path) == {}
