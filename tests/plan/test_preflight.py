import os
import time
from pathlib import Path

import pytest
from processes import runs

from attnbench.errors import PluginError
from attnbench.plan import preflight
from attnbench.plan.preflight import Wanted
from attnbench.runs.job import SPAWN


def of(tmp_path: Path, text: str) -> Wanted:
    path = tmp_path / f"plugin_{len(list(tmp_path.iterdir()))}.py"
    path.write_text(text)
    return Wanted(spec=f"{path}:Mine")


def test_options_come_back_complete_and_mistakes_all_together() -> None:
    good, typo, value, unknown = (Wanted(spec=s) for s in ("swin:window=5", "swin:windw=5", "swin:window=0", "swim"))
    found = preflight.take([good, typo, value, unknown])
    assert found.of(good).options["window"] == 5
    assert "backend" in found.of(good).options
    assert found.of(good).distribution.startswith("attnbench")
    assert found.of(typo).mistakes == ("swin:windw=5: unknown option 'windw'; did you mean window?",)
    assert "window" in found.of(value).mistakes[0]
    assert "did you mean swin" in found.of(unknown).mistakes[0]
    assert found.devices[0] == "cpu"


def test_an_asked_backend_is_taken_where_it_exists_and_kept_where_it_does_not() -> None:
    has, has_not = Wanted(spec="mhsa", backend="unfused"), Wanted(spec="mhsa", backend="warp")
    found = preflight.take([has, has_not])
    assert found.of(has).options["backend"] == "unfused"
    assert found.of(has_not).options["backend"] == "warp"
    assert "warp" not in found.of(has_not).backends


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_the_kind", "does not import: ModuleNotFoundError"),
        ("print('hello'); class Mine: pass", "does not import: SyntaxError"),
    ],
)
def test_a_plugin_that_raises_is_named_and_the_others_are_looked_at(tmp_path: Path, text: str, said: str) -> None:
    broken, sound = of(tmp_path, text), Wanted(spec="mhsa")
    found = preflight.take([broken, sound])
    assert said in found.of(broken).mistakes[0]
    assert Path(broken.spec.rpartition(":")[0]).name in found.of(broken).mistakes[0]
    assert found.of(sound).mistakes == ()


CLASS = """
import os, signal, sys, time
from torch import nn
class Mine(nn.Module):
    def __init__(self, dim):
        super().__init__()
        {in_constructor}
    def forward(self, x):
        {in_forward}
        return x
"""


def in_constructor(act: str) -> str:
    return CLASS.format(in_constructor=act, in_forward="pass")


def in_forward(act: str) -> str:
    return CLASS.format(in_constructor="pass", in_forward=act)


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        ("import os; os._exit(7)", "crashed", "the process ended with status 7 while loading"),
        ("import sys; sys.exit('no')", "crashed", "it called sys.exit('no') while loading"),
        (in_constructor("os._exit(3)"), "crashed", "the process ended with status 3 while loading"),
        (in_forward("os.kill(os.getpid(), signal.SIGSEGV)"), "crashed", "killed by SIGSEGV while loading"),
        (in_forward("os.kill(os.getpid(), 35)"), "crashed", "killed by signal 35 while loading"),
        (in_forward("sys.exit('enough')"), "crashed", "the process ended with status 1 while loading (enough)"),
    ],
)
def test_a_plugin_that_kills_its_process_costs_itself_alone(
    tmp_path: Path, text: str, status: str, reason: str
) -> None:
    killer, sound = of(tmp_path, text), Wanted(spec="mhsa")
    found = preflight.take([killer, sound])
    lost = found.of(killer)
    assert (lost.status, lost.reason, lost.mistakes) == (status, reason, ())
    assert lost.name == killer.spec
    assert Path(killer.spec.rpartition(":")[0]).name in lost.distribution
    assert (found.of(sound).status, found.of(sound).mistakes) == ("ok", ())


@pytest.mark.parametrize("text", ["import time; time.sleep(3600)", in_forward("time.sleep(3600)")])
def test_a_plugin_that_hangs_costs_itself_alone_and_no_longer_than_is_allowed(tmp_path: Path, text: str) -> None:
    hanging, sound = of(tmp_path, text), Wanted(spec="mhsa")
    preflight.take([sound])  # the process to fork from is there now
    told: list[str] = []
    found = preflight.take([Wanted(spec="qna"), hanging, sound], timeout_s=10, watcher=told.append)
    assert list(dict.fromkeys(told)) == ["qna", hanging.spec, "mhsa"]
    lost = found.of(hanging)
    assert (lost.status, lost.reason) == ("timeout", "loading took longer than 10 s; raise --timeout to wait longer")
    assert found.of(sound).status == "ok"


def test_the_options_of_what_cannot_be_looked_at_are_those_given(tmp_path: Path) -> None:
    killer = of(tmp_path, "import os; os._exit(7)")
    asked = Wanted(spec=f"{killer.spec}:window=7", backend="flash")
    (lost,) = preflight.take([asked]).findings
    assert (lost.name, dict(lost.options), lost.backends) == (
        killer.spec,
        {"window": "7", "backend": "flash"},
        ("flash",),
    )


def test_a_process_that_ends_before_it_looks_at_anything_is_no_plugins_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "looks_at_nothing.py").write_text("raise SystemExit('no torch')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(PluginError, match=r"no plugin can be looked at: .* status 1 .*no torch"):
        preflight.take([Wanted(spec="mhsa")], isolation=SPAWN, module="looks_at_nothing")


SOUND = """
from attnbench.mechanism import Mechanism
class Mine(Mechanism):
    def forward(self, x):
        return x
"""


LEAVES = r"""
import subprocess, sys, threading, time
child = subprocess.Popen(["sleep", "3600"])
open({pid!r}, "w").write(str(child.pid))
threading.Thread(target=time.sleep, args=(3600,)).start()
sys.stderr.buffer.write(b"\xff\xfe")
print("noise")
"""


def test_what_a_plugin_starts_and_prints_keeps_nobody_waiting_and_is_ended(tmp_path: Path) -> None:
    """What keeps it waiting sleeps for longer than a test may take."""
    noisy, pid = of(tmp_path, LEAVES.format(pid=str(tmp_path / "pid")) + SOUND), tmp_path / "pid"
    assert preflight.take([noisy], timeout_s=100).of(noisy).mistakes == ()
    while runs(int(pid.read_text())):
        time.sleep(0.05)


def test_the_folder_that_it_runs_in_takes_the_place_of_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random.py").write_text(SOUND)
    monkeypatch.chdir(tmp_path)
    wanted = Wanted(spec="random.py:Mine")
    assert preflight.take([wanted]).of(wanted).mistakes == ()
