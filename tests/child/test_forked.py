"""What a fork is: soon there, as fresh as a process that starts from nothing, and gone with whoever it comes from."""

import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from told import EVENTS

from attnbench.child import Child, server
from attnbench.child.child import FORK, SPAWN
from attnbench.plan.sweep import Sweep
from attnbench.record import Cell, Record, Scope
from attnbench.runs import runner
from attnbench.runs.job import Settings

HELPERS = Path(__file__).parents[1] / "helpers"
ENOUGH_S = 100.0
OF_ITS_SERVER = """
def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

server = parent(os.getppid())
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Child]:
    monkeypatch.setenv("PYTHONPATH", str(HELPERS), prepend=os.pathsep)
    return partial(Child, "does_as_told", events=EVENTS, log=tmp_path / "log", threads=2, isolation=FORK)


def said(child: Child) -> Any:
    with child:
        return child.next_event(timeout_s=ENOUGH_S).told


def test_what_it_comes_from_has_loaded_torch_and_no_plugin_and_has_started_nothing(start: Callable[..., Child]) -> None:
    code = f"""{OF_ITS_SERVER}
loaded = [name for name in ("torch", "timm", "numpy", "mechanisms") if name in sys.modules]
import torch
say([loaded, len(os.listdir(f"/proc/{{server}}/task")), torch.cuda.is_initialized(), torch.cuda._is_in_bad_fork()])
"""
    assert said(start(code)) == [["torch", "timm", "numpy"], 1, False, False]


def test_libraries_have_the_threads_that_they_have_in_a_process_of_its_own(start: Callable[..., Child]) -> None:
    code = """
import numpy, threadpoolctl, torch
pools = [(pool["user_api"], pool["num_threads"]) for pool in threadpoolctl.threadpool_info()]
say([torch.get_num_threads(), torch.get_num_interop_threads(), sorted(pools), torch.__config__.parallel_info()])
"""
    assert said(start(code)) == said(start(code, isolation=SPAWN))


def test_no_two_draw_the_same_numbers_unless_they_are_seeded(start: Callable[..., Child]) -> None:
    code = """
import random, numpy, torch
say([random.random(), numpy.random.rand(), torch.rand(()).item()])
"""
    first, second = said(start(code)), said(start(code))
    assert all(one != other for one, other in zip(first, second, strict=True))


def test_a_module_that_has_changed_is_loaded_as_it_is_now(start: Callable[..., Child], tmp_path: Path) -> None:
    code = "sys.path.append(given[0]); import changing; say(changing.VALUE)"
    (tmp_path / "changing.py").write_text("VALUE = 1")
    first = said(start(code, str(tmp_path)))
    (tmp_path / "changing.py").write_text("VALUE = 'another'")
    assert (first, said(start(code, str(tmp_path)))) == (1, "another")


def test_a_child_outlives_what_it_comes_from_and_the_next_comes_from_another(start: Callable[..., Child]) -> None:
    with start(f"{OF_ITS_SERVER}say(server); os.kill(server, signal.SIGKILL); time.sleep(0.1); say('here')") as child:
        first = child.next_event(timeout_s=ENOUGH_S).told
        assert child.next_event(timeout_s=ENOUGH_S).told == "here"
    assert said(start(f"{OF_ITS_SERVER}say(server)")) not in {first, os.getpid()}


def test_where_nothing_can_be_forked_a_process_is_spawned_and_why_is_said(
    start: Callable[..., Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.warns(UserWarning, match=r"processes are started anew.*has ended \(ImportError: broken\)"):
        child = start(f"{OF_ITS_SERVER}say(server)")  # the guardian's parent
    assert said(child) == os.getpid()


def test_a_process_with_threads_is_not_forked() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert "has started" in server._why_no_fork()
    finally:
        done.set()
        thread.join()


def test_a_process_that_holds_a_device_open_is_not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open():
        assert os.devnull not in server._devices_open()
        monkeypatch.setattr(server, "_MEMORY", -1)
        assert os.devnull in server._devices_open()


def test_a_fork_measures_as_a_process_of_its_own_does(tmp_path: Path) -> None:
    small = {"scope": Scope.LAYER, "height": 32, "width": 32, "stage": 1, "dim": 32, "heads": 2, "depth": 1}
    cell = Cell(mechanism="mhsa", options={"backend": "sdpa"}, **small)

    (tmp_path / "samples").mkdir()

    def measure(isolation: str) -> Record:
        settings = Settings(max_time_s=0.1, isolation=isolation)
        (record,) = runner.run(Sweep(cells=(cell,), baselines={}), settings=settings, folder=tmp_path)
        return record

    forked, spawned = measure(FORK), measure(SPAWN)
    assert (forked.status, spawned.status) == ("ok", "ok")
    assert forked.environment["environment_id"] == spawned.environment["environment_id"]
    exact = {name for name, value in spawned.metrics.items() if name.startswith("memory") or "macs" in name}
    assert {"macs", "memory_peak_bytes"} <= exact
    assert {name: forked.metrics[name] for name in exact} == {name: spawned.metrics[name] for name in exact}
