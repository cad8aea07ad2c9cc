"""Environments as lines: in one order, and with every value that was not the same all the time."""

from __future__ import annotations

from attnbench.report.environments import describe, describe_all

FIRST = {
    "environment_id": "abc",
    "hardware": "Xeon, 2 cores",
    "torch_version": "2.15.0",
    "software": {"torch": "2.15.0", "python": "3.11"},
    "code": {"commit": "111"},
    "state": {"load_average": 0.9, "taken_at": "2026-11-22T06:00:00+00:00", "gpu_uuid": None},
}
SECOND = FIRST | {
    "code": {"commit": "222"},
    "state": {"load_average": 11.5, "taken_at": "2026-11-22T07:00:00+00:00", "gpu_uuid": None},
}


def test_lines_have_one_order_whatever_the_order_of_what_was_recorded() -> None:
    shuffled = {name: FIRST[name] for name in sorted(FIRST, reverse=True)}
    assert describe(shuffled) == describe(FIRST)
    assert [name for name, _ in describe(FIRST)] == [
        "hardware", "environment id", "software python", "software torch", "code commit",
        "state gpu uuid", "state load average", "state taken at",
    ]  # fmt: skip


def test_what_changed_between_cells_is_said_with_all_its_values() -> None:
    found = describe_all([FIRST, {}, SECOND, FIRST, FIRST | {"environment_id": "def"}])
    assert list(found) == ["abc", "def"]
    lines = dict(found["abc"])
    assert lines["code commit"] == "111, 222"
    assert lines["state load average"] == "0.9 to 11.5"
    assert lines["state taken at"] == "2026-11-22T06:00:00+00:00 to 2026-11-22T07:00:00+00:00"
    assert lines["state gpu uuid"] == "not known"
    assert dict(found["def"])["code commit"] == "111"


def test_an_environment_that_was_recorded_without_its_id_is_described():
    assert describe_all([{"hardware": "Xeon"}, {}]) == {"without an id": [("hardware", "Xeon")]}
