"""Children that do what they are told, forked and spawned: what is heard of them, and how they end."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from processes import runs
from told import EVENTS, Told

from attnbench.child import ENDED, Child

Start = Callable[..., Child]
HELPERS = Path(__file__).parents[1] / "helpers"
ENOUGH_S = 100.0
"""For a process to start, be it the one that others are forked from."""


@pytest.fixture(params=["spawn", "fork"])
def start(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start a child that runs some lines of code."""
    monkeypatch.setenv("PYTHONPATH", str(HELPERS), prepend=os.pathsep)
    return partial(Child, "does_as_told", events=EVENTS, log=tmp_path / "log", threads=3, isolation=request.param)


def heard(child: Child) -> Any:
    event = child.next_event(timeout_s=ENOUGH_S)
    assert event is not None
    return event.told if isinstance(event, Told) else event


def test_what_a_child_says_is_heard_in_order_and_then_its_end(start: Start) -> None:
    with start("for number in range(3): say(number)") as child:
        assert [heard(child) for _ in range(4)] == [0, 1, 2, ENDED]
    assert child.exit_status == 0


def test_a_child_has_its_arguments_folder_threads_session_and_log(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "as it is now")
    code = """
print(given, Path.cwd().name, os.environ["OMP_NUM_THREADS"], os.environ["PYTEST_CURRENT_TEST"])
print(os.getsid(0) == os.getpid(), repr(sys.stdin.read()), "" in sys.path, os.environ.get("OPENBLAS_NUM_THREADS"))
"""
    with start(code, "first", "second") as child:
        assert heard(child) is ENDED
    assert child.log.read_text().splitlines() == [
        "['first', 'second'] here 3 as it is now",
        "True '' False None",
    ]


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV while at it"),
        ("os.kill(os.getpid(), 35)", "killed by signal 35 while at it"),
        ("sys.exit('enough')", "the process ended with status 1 while at it (enough)"),
        ("sys.exit(4)", "the process ended with status 4 while at it"),
        ("raise ValueError('odd')", "the process ended with status 1 while at it (ValueError: odd)"),
        ("os._exit(7)", "the process ended with status 7 while at it"),
    ],
)
def test_the_cause_of_a_death_is_said_in_words(start: Start, code: str, cause: str) -> None:
    with start(code) as child:
        assert heard(child) is ENDED
        death = child.death("at it")
        assert (death.status, death.reason, death.from_outside) == ("crashed", cause, False)


def test_a_deadline_passes_and_the_end_is_by_force(start: Start) -> None:
    with start("time.sleep(3600)") as child:
        assert child.next_event(timeout_s=0.1) is None
        child.end()
        assert heard(child) is ENDED
    assert child.exit_status == -signal.SIGKILL


@pytest.mark.parametrize("then", ["", "time.sleep(3600)"], ids=["ends", "is ended"])
def test_what_a_child_has_started_ends_with_it(start: Start, then: str) -> None:
    with start(f"say(subprocess.Popen(['sleep', '3600'], close_fds=False).pid); {then}") as child:
        started = heard(child)
        if not then:
            assert heard(child) is ENDED
    while runs(started):
        time.sleep(0.01)


def test_children_side_by_side_are_heard_and_ended_apart(start: Start) -> None:
    with start("say(1); time.sleep(3600)") as first, start("say(2); sys.exit(2)") as second:
        assert (heard(first), heard(second), heard(second)) == (1, 2, ENDED)
        assert first.exit_status is None
        assert second.exit_status == 2
