"""Profiles in words: made-up ones, whose sentences can be worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path

from attnbench.explain import data, words
from attnbench.explain.asking import Explained
from attnbench.explain.picture import draw
from attnbench.explain.profiles import CallProfile, OperatorTime
from attnbench.record import Cell, Record, Scope, Status
from attnbench.report.page.blocks import Code, Listing


def profile(rest: float = 1.0, **parts: float) -> CallProfile:
    """Return one whose operators take some milliseconds."""
    operators = tuple(
        OperatorTime(name=f"aten::{name}", self_s=1e-3 * value, launches=2) for name, value in parts.items()
    )
    total = 1e-3 * (rest + sum(parts.values()))
    return CallProfile(operators=operators, rest_s=1e-3 * rest, plain_s=0.8 * total, profiled_s=total, calls=5)


def explained(mechanism: str, found: CallProfile | None, **more: str) -> Explained:
    cell = Cell(mechanism=mechanism, height=32, width=32, scope=Scope.LAYER, depth=2, **more)
    record = Record(cell=cell, status=Status.OK, metrics={"latency_median_s": 1.0})
    return Explained(record=record, profile=found, failure="" if found else "killed by SIGSEGV while building")


SLOW, QUICK = profile(mm=9, copy_=2), profile(mm=1, copy_=1)


def test_a_difference_is_shared_out() -> None:
    said = words.conclusion({"a": SLOW, "b": QUICK})
    assert said == "a takes 4 times as long as b: 89 % of the difference is matrix products."


def test_what_other_parts_win_back_is_said() -> None:
    said = words.conclusion({"b": profile(mm=1, copy_=3), "a": profile(mm=9)})
    assert said.startswith("a takes 2 times as long as b: the largest part, matrix products, is 8 ms more, ")
    assert said.endswith("and others win back 3 ms.")


def test_profiles_that_are_alike_differ_in_nothing() -> None:
    assert "as long as b within 5 %" in words.conclusion({"a": profile(mm=1.01), "b": profile(mm=1)})


def test_calls_that_are_the_profilers_more_than_their_own_explain_nothing() -> None:
    said = words.conclusion({"a": replace(SLOW, plain_s=1e-3), "b": QUICK})
    assert said.startswith("b takes 2.4 times as long as a; why is not to be said")
    assert "1.2 and 12 times as long" in said


def test_one_alone_says_what_it_spends_its_time_in() -> None:
    assert words.conclusion({"a": SLOW}) == "a spends 75 % of a call in matrix products."


def test_a_page_names_what_died_and_what_profiling_cost() -> None:
    page = words.page([explained("a", SLOW), explained("b", None)], folder=Path("run"), left_out="c (it is not ok)")
    said = str([block for block in page if isinstance(block, Listing)])
    assert "killed by SIGSEGV while building" in said
    assert "calls took 1.2 times as long under the profiler" in said
    assert "Left out: c (it is not ok)." in said
    assert not any(isinstance(block, Code) for block in page)


def test_a_cell_of_nvidia_has_the_command_of_its_own_profiler() -> None:
    one = explained("a", replace(SLOW, on_device=True), device="cuda:1")
    (code,) = [block for block in words.page([one], folder=Path("a run")) if isinstance(block, Code)]
    assert code.text.startswith("ncu ")
    assert code.text.endswith(f"attnbench.worker.explaining 'a run' {one.record.cell.key}")


def test_as_data_all_operators_are_there_and_the_latency_is_of_a_call() -> None:
    found = data.plain([explained("a", SLOW), explained("b", None)])
    first, second = json.loads(json.dumps(found))["cells"]
    assert first["latency_in_run_s"] == 2.0
    assert [each["name"] for each in first["profile"]["operators"]] == ["aten::mm", "aten::copy_"]
    assert sum(each["share"] for each in first["profile"]["categories"].values()) == 1
    assert second["profile"] is None


def test_a_picture_is_the_same_for_the_same_profiles(tmp_path: Path) -> None:
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        draw([explained("a", SLOW), explained("b", QUICK)], file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].read_bytes().startswith(b"\x89PNG")
