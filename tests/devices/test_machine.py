"""Which core has least to do, over described machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnbench.devices import machine


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: frozenset({2, 3}))


def write(root: Path, **ticks: tuple[int, int]) -> None:
    """Write how long each core was busy, and taken away by a hypervisor."""
    lines = [f"{core} {busy} 0 0 900 0 0 0 {stolen} 0 0" for core, (busy, stolen) in ticks.items()]
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "stat").write_text("\n".join(["cpu 1 1 1 1 1 1 1 1", *lines, ""]))


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(
    ("after", "chosen"),
    [
        ({"cpu0": (0, 0), "cpu2": (105, 0), "cpu3": (520, 0)}, 2),
        ({"cpu0": (0, 0), "cpu2": (119, 0), "cpu3": (501, 0)}, 3),
        ({"cpu0": (0, 0), "cpu2": (100, 9), "cpu3": (503, 0)}, 3),
        ({"cpu0": (0, 0), "cpu2": (100, 0), "cpu3": (500, 0)}, 3),
    ],
    ids=["2", "3", "the other is taken away", "both idle"],
)
def test_the_core_with_least_to_do_is_chosen(tmp_path: Path, after: dict[str, tuple[int, int]], chosen: int) -> None:
    write(tmp_path, cpu0=(0, 0), cpu2=(100, 0), cpu3=(500, 0))
    assert machine.idlest_core(root=tmp_path, sleep=lambda _: write(tmp_path, **after)) == chosen


@pytest.mark.usefixtures("two_cores")
def test_where_nothing_tells_no_core_is_chosen(tmp_path: Path) -> None:
    assert machine.idlest_core(root=tmp_path, sleep=lambda _: None) is None
