"""Children that do what they are told: what is heard of them, how they end, and what they leave behind."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import runs

from attnbench.child import ENDED, Child

Start = Callable[[str], Child]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start a child that runs some lines of code."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def start(code: str) -> Child:
        (tmp_path / "does_as_told.py").write_text(f"import os, signal, subprocess, sys, time\n{code}\n")
        return Child("does_as_told", "first", log=tmp_path / "log", threads=3)

    return start


def test_what_a_child_says_is_heard_in_order_and_then_its_end(start: Start) -> None:
    said = "".join(f"os.write(int(sys.argv[2]), b'{{\"event\": {number}}}\\n');" for number in range(3))
    with start(said) as child:
        heard = [child.next_event(timeout_s=20) for _ in range(4)]
    assert heard == [{"event": 0}, {"event": 1}, {"event": 2}, ENDED]
    assert child.exit_status == 0


def test_a_child_knows_its_arguments_its_threads_and_its_session(start: Start) -> None:
    code = "print(sys.argv[1], os.environ['OMP_NUM_THREADS'], os.getsid(0) == os.getpid(), sys.stdin.read() == '')"
    with start(code) as child:
        assert child.next_event(timeout_s=20) is ENDED
    assert child.log.read_text() == "first 3 True True\n"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV while at it"),
        ("os.kill(os.getpid(), 35)", "killed by signal 35 while at it"),
        ("sys.exit('enough')", "the process ended with status 1 while at it (enough)"),
        ("raise ValueError('odd')", "the process ended with status 1 while at it (ValueError: odd)"),
        ("os._exit(7)", "the process ended with status 7 while at it"),
    ],
)
def test_the_cause_of_a_death_is_said_in_words(start: Start, code: str, cause: str) -> None:
    with start(code) as child:
        assert child.next_event(timeout_s=20) is ENDED
        assert child.cause_of_death("at it") == ("crashed", cause)


def test_a_deadline_passes_and_the_end_is_by_force(start: Start) -> None:
    with start("time.sleep(3600)") as child:
        assert child.next_event(timeout_s=0.1) is None
        child.end()
        assert child.next_event(timeout_s=20) is ENDED
    assert child.exit_status == -signal.SIGKILL


@pytest.mark.parametrize("then", ["", "time.sleep(3600)"], ids=["ends", "is ended"])
def test_what_a_child_has_started_ends_with_it(start: Start, tmp_path: Path, then: str) -> None:
    pid = tmp_path / "pid"
    starts = "started = subprocess.Popen(['sleep', '3600'], close_fds=False)"
    starts += f"; open({str(pid)!r}, 'w').write(str(started.pid))"
    with start(f"{starts}; os.write(int(sys.argv[2]), b'{{}}\\n'); {then}") as child:
        assert child.next_event(timeout_s=20) == {}
        if not then:
            assert child.next_event(timeout_s=20) is ENDED
    while runs(int(pid.read_text())):
        time.sleep(0.01)
