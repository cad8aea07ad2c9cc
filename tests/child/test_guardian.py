"""Nothing outlives the process that wanted it, whatever it hangs in and has started; and no log is endless."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from processes import runs
from told import EVENTS

from attnbench.child import ENDED, Child, guardian

HELPERS = Path(__file__).parents[1] / "helpers"
ENOUGH_S = 100.0
ISOLATIONS = ["spawn", "fork"]

Start = Callable[..., Child]

PARENT = """
import signal, sys, time
from pathlib import Path
from attnbench.child import Child
from told import EVENTS

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs the tests in the background
child = Child("does_as_told", sys.argv[2], events=EVENTS, log=Path(sys.argv[1]), threads=1, isolation=sys.argv[3])
print(child.next_event(timeout_s=100).told, flush=True)
while True:  # a signal that comes just before one long call would be seen after it
    time.sleep(0.1)
"""
STARTS_OTHERS = """
quiet = dict(close_fds=False, stdout=subprocess.DEVNULL)
others = [subprocess.Popen(["sleep", "3600"], start_new_session=apart, **quiet).pid for apart in (False, True)]
abandoned = subprocess.run(["setsid", "sh", "-c", "sleep 3600 >/dev/null & echo $!"], stdout=subprocess.PIPE).stdout
say([os.getpid(), os.getppid(), *others, int(abandoned)])
"""
HANGS = {
    "in a call of the system": "time.sleep(3600)",
    "in Python": "while True: pass",
    "in C, with the interpreter locked": "import re; re.match('(a+)+$', 'a' * 64 + 'b')",
    "and ignores signals": "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 15)]; time.sleep(3600)",
    "with the channel closed": "os.closerange(0, 1000); time.sleep(3600)",
}


@pytest.fixture(params=ISOLATIONS)
def start(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setenv("PYTHONPATH", str(HELPERS), prepend=os.pathsep)
    return partial(Child, "does_as_told", events=EVENTS, log=tmp_path / "log", threads=1, isolation=request.param)


def gone(pids: list[int]) -> bool:
    """Wait until none of some processes runs; the limit on a test's time is how long."""
    while any(map(runs, pids)):
        time.sleep(0.01)
    return True


@pytest.mark.parametrize(
    ("isolation", "hangs"),
    [("fork", HANGS["in Python"]), *(("spawn", hangs) for hangs in HANGS.values())],  # a server takes seconds to start
    ids=["fork", *HANGS],
)
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=lambda each: each.name)
def test_everything_ends_with_the_parent_whatever_it_hangs_in(
    end: signal.Signals, hangs: str, isolation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HELPERS), prepend=os.pathsep)
    arguments = [str(tmp_path / "log"), f"{STARTS_OTHERS}\n{hangs}", isolation]
    with subprocess.Popen([sys.executable, "-c", PARENT, *arguments], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        try:
            pids = json.loads(parent.stdout.readline())
            parent.send_signal(end)
            assert gone(pids)
        finally:
            parent.kill()


def test_what_a_child_has_started_ends_with_it_in_whatever_session(start: Start) -> None:
    with start(STARTS_OTHERS) as child:
        _, watching, *others = child.next_event(timeout_s=ENOUGH_S).told
        assert child.next_event(timeout_s=ENOUGH_S) is ENDED
    assert gone([watching, *others])


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGSTOP], ids=lambda each: each.name)
def test_a_child_that_does_something_to_its_guardian_ends_all_the_same(
    start: Start, by: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attnbench.child.child._FAREWELL_S", 0.5)
    with start(f"say([os.getpid(), os.getppid()]); os.kill(os.getppid(), {int(by)}); time.sleep(3600)") as child:
        pids = child.next_event(timeout_s=ENOUGH_S).told
        if by is signal.SIGKILL:
            assert child.next_event(timeout_s=ENOUGH_S) is ENDED
        child.end()
        death = child.death("at it")
    assert death.from_outside  # by its guardian, where that was asked for it before it was stopped
    assert gone(pids)


@pytest.mark.parametrize(
    ("code", "last_words"),
    [
        ("os.write(2, b'y' * 100_000_000); os.abort()", f"{'y' * 500}... (4,096 characters)"),
        ("os.write(1, b'one\\n' * 20_000_000 + b'the last\\n'); os.abort()", "the last"),
    ],
    ids=["one line", "many lines"],
)
def test_a_log_has_a_bound_which_it_says_and_last_words_are_short(start: Start, code: str, last_words: str) -> None:
    with start(code) as child:
        assert child.next_event(timeout_s=ENOUGH_S) is ENDED
        assert child.death("at it").reason == f"killed by SIGABRT while at it ({last_words})"
    kept = child.log.read_bytes()
    assert len(kept) < guardian.LOG_BYTES + guardian.TAIL_BYTES + 100
    assert b"bytes that were printed here are left out]" in kept


def test_the_last_words_of_another_child_are_not_taken_for_its_own(start: Start) -> None:
    with start("print('the words of the first')") as first:
        assert first.next_event(timeout_s=ENOUGH_S) is ENDED
    with start("os._exit(3)") as second:
        assert second.next_event(timeout_s=ENOUGH_S) is ENDED
        assert second.death("at it").reason == "the process ended with status 3 while at it"
    assert second.log.read_text() == "the words of the first\n"


def test_a_log_that_has_grown_is_set_aside_and_that_is_said(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnbench.child.child._LOG_BYTES", 3)
    for word in ("first", "second"):
        with start(f"print('{word}')") as child:
            assert child.next_event(timeout_s=ENOUGH_S) is ENDED
    assert child.log.with_name("log.old").read_text() == "first\n"
    assert child.log.read_text() == "[attnbench: what was printed before is in log.old]\nsecond\n"


def test_a_log_that_cannot_be_written_costs_the_log_alone(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    with pytest.warns(UserWarning, match=r"what processes print is not kept: cannot write .*Not a directory"):
        child = start("print('hello'); say(1); os._exit(3)", log=tmp_path / "a file" / "log")
    with child:
        assert child.next_event(timeout_s=ENOUGH_S).told == 1
        assert child.next_event(timeout_s=ENOUGH_S) is ENDED
        assert child.exit_status == 3
