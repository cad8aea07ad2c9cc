"""A command that a process waits for ends with it, and lets pass what a scheduler warns that process by."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from attnbench.child.foreground import Foreground

WAITS = """
import sys
from pathlib import Path
from attnbench.child.foreground import Foreground
Foreground(["list"], log=Path(sys.argv[1]), environment={"PATH": sys.argv[2], "PYTHONPATH": sys.argv[3]}).wait()
"""
SLEEPS = """
import os, sys, time
Path = __import__("pathlib").Path
print("here", flush=True)
time.sleep(3600)
"""


def package(folder: Path, code: str) -> dict[str, str]:
    """Return variables under which ``attnbench`` is a made-up program."""
    (folder / "attnbench").mkdir()
    (folder / "attnbench" / "__init__.py").touch()
    (folder / "attnbench" / "__main__.py").write_text(code)
    return os.environ | {"PYTHONPATH": str(folder)}


def until_it_says(log: Path, word: str) -> None:
    while word not in (log.read_text() if log.exists() else ""):
        os.sched_yield()


def test_what_it_prints_is_kept_and_its_status_returned(tmp_path: Path) -> None:
    variables = package(tmp_path, "import sys; print(sys.argv[1:]); sys.exit(3)")
    assert Foreground(["work", "here"], log=tmp_path / "log", environment=variables).wait() == 3
    assert (tmp_path / "log").read_text() == "['work', 'here']\n"


def test_what_a_scheduler_warns_by_is_not_meant_for_it_and_a_stop_is(tmp_path: Path) -> None:
    made = Foreground([], log=tmp_path / "log", environment=package(tmp_path, SLEEPS))
    until_it_says(tmp_path / "log", "here")
    for each in (signal.SIGUSR1, signal.SIGUSR2):
        made._process.send_signal(each)
    assert made.poll() is None
    made.stop()
    assert made.wait() == -signal.SIGTERM


def test_one_that_does_not_stop_is_ended_by_force(tmp_path: Path) -> None:
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SLEEPS}"
    made = Foreground([], log=tmp_path / "log", environment=package(tmp_path, deaf))
    until_it_says(tmp_path / "log", "here")
    made.stop(patience_s=0.2)
    assert made.wait() == -signal.SIGKILL


def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    log, reading = tmp_path / "log", tmp_path / "pipe"
    os.mkfifo(reading)
    package(tmp_path, f"opened = open({str(reading)!r}, 'w')\n{SLEEPS}")
    parent = subprocess.Popen([sys.executable, "-c", WAITS, str(log), os.environ["PATH"], str(tmp_path)])
    with reading.open() as file:
        until_it_says(log, "here")
        parent.kill()
        parent.wait()
        assert file.read() == "", "the last one that could write has ended"
