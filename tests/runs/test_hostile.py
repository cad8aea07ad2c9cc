"""Plugins that do something to the process they are in, to its parent, or to what they say: each costs itself alone."""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import runs

import attnbench
from attnbench.errors import UsageError
from attnbench.record import Record
from attnbench.runs import session

PLUGIN = """
import ctypes, os, shutil, signal, subprocess, sys, time
from pathlib import Path
import torch
from torch import nn

def write(data):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, data)
        except OSError:
            pass

class Odd(Exception):
    def __str__(self):
        raise self

STARTED = Path(__file__).with_suffix(".started")

{at_import}

class Hostile(nn.Module):
    layout = "BHWC"

    def __init__(self, dim):
        super().__init__()
        {in_constructor}

    def forward(self, x):
        if x.device.type != "meta":
            {in_forward}
        return x

class Good(nn.Module):
    layout = "BHWC"

    def __init__(self, dim):
        super().__init__()

    def forward(self, x):
        return x + 1
"""
GOOD = PLUGIN.format(at_import="", in_constructor="pass", in_forward="pass")
AN_EVENT = """write(b'{"event": "done", "cell": 0, "status": "ok", "reason": "", "metrics": {}}\\n')"""
SESSIONS = (
    "STARTED.write_text(str(subprocess.Popen(['sleep', '3600'], start_new_session=True, close_fds=False).pid)); "
    "os._exit(3)"
)


@dataclass(frozen=True)
class Kind:
    """What a plugin does where, and how its row may end."""

    does: str
    statuses: set[str]
    reason: str = ""
    where: str = "in_forward"


KINDS = {
    "forks at import": Kind("os.fork()", {"ok"}, where="at_import"),
    "forks in its constructor": Kind("os.fork()", {"ok"}, where="in_constructor"),
    # Seen by the process that it leaves, unless that was quick to end.
    "forks in forward": Kind("os.fork()", {"ok", "failed"}),
    "forks by C in forward, which doubles": Kind("ctypes.CDLL(None).fork()", {"ok", "timeout", "failed"}),
    "forks and raises in the fork": Kind("assert os.fork()", {"ok", "failed"}),
    "writes a number at import": Kind(r"write(b'5\n')", {"crashed"}, "it wrote '5' into the channel", "at_import"),
    "writes a number in its constructor": Kind(
        r"write(b'5\n')", {"crashed"}, "it wrote '5' into the channel", "in_constructor"
    ),
    "writes a number in forward": Kind(r"write(b'5\n')", {"crashed"}, "it wrote '5' into the channel"),
    "writes an event": Kind(AN_EVENT, {"crashed"}, 'it wrote \'{"event": "done", "cell": 0'),
    "writes no end of it": Kind("write(b'x' * 10_000_000)", {"crashed"}, "it wrote 'xxxx"),
    "prints 100 MB in a line and aborts": Kind("os.write(2, b'y' * 100_000_000); os.abort()", {"crashed"}, "SIGABRT"),
    "raises 5 MB": Kind("raise ValueError('x' * 5_000_000)", {"failed"}, "(5,000,000 characters)"),
    "raises what cannot be said": Kind("raise Odd", {"failed"}, "Odd: a Odd that cannot say what it is"),
    "raises what is no text": Kind(r"raise ValueError('\udcff\x00\x1b[2J')", {"failed"}, "ValueError: "),
    "raises that memory is short": Kind("raise MemoryError", {"out-of-memory"}, "MemoryError"),
    "kills itself": Kind("os.kill(os.getpid(), 9)", {"crashed"}, "SIGKILL"),
    "ends itself": Kind("os.kill(os.getpid(), 15)", {"crashed"}, "SIGTERM"),
    "kills what watches over it": Kind("os.kill(os.getppid(), 9); time.sleep(9)", {"crashed"}, "what watches over"),
    "closes what is open": Kind("os.closerange(0, 1000)", {"crashed", "failed"}),
    "removes what its process was given": Kind("shutil.rmtree(Path(sys.argv[1]).parent)", {"ok", "failed"}),
    "cuts the page of its process": Kind("Path(sys.argv[1]).with_suffix('.running').write_bytes(b'')", {"ok"}),
    "leaves a session behind": Kind(SESSIONS, {"crashed"}, "status 3"),
    "ignores signals and hangs": Kind(
        "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; time.sleep(3600)", {"timeout"}, "took longer than"
    ),
}


@pytest.fixture(autouse=True)
def _scratch_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))


def measure(folder: Path, hostile: str, *, timeout: float = 30) -> dict[str, list[Record]]:
    (folder / "hostile.py").write_text(hostile)
    (folder / "good.py").write_text(GOOD)
    found = attnbench.run(
        mechanisms=[f"{folder}/good.py:Good", f"{folder}/hostile.py:Hostile", "mhsa"],
        scope="layer",
        res=[32],
        until="memory",
        baseline="none",
        progress=False,
        timeout=timeout,
        out=folder / "run",
    )
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
    rows: dict[str, list[Record]] = {}
    for record in session.read(folder / "run"):
        rows.setdefault(record.cell.mechanism.rpartition(":")[2], []).append(record)
    assert len(found.records) == 3
    return rows


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_hostile_plugin_costs_itself_alone(tmp_path: Path, kind: Kind) -> None:
    acts = {"at_import": "", "in_constructor": "pass", "in_forward": "pass"} | {kind.where: kind.does}
    rows = measure(tmp_path, PLUGIN.format(**acts), timeout=5 if "timeout" in kind.statuses else 60)
    assert {name: len(each) for name, each in rows.items()} == {"Good": 1, "Hostile": 1, "mhsa": 1}
    assert rows["Good"][0].status == rows["mhsa"][0].status == "ok"
    (row,) = rows["Hostile"]
    assert row.status in kind.statuses, row.reason
    assert kind.reason in row.reason
    assert len(row.reason) < 1000
    if (started := tmp_path / "hostile.started").exists():
        while runs(int(started.read_text())):
            time.sleep(0.01)


def test_an_import_that_raises_five_megabytes_is_a_short_mistake(tmp_path: Path) -> None:
    hostile = PLUGIN.format(at_import="raise ValueError('x' * 5_000_000)", in_constructor="pass", in_forward="pass")
    with pytest.raises(UsageError, match=r"xxx\.\.\. \(5,000,000 characters\)") as caught:
        measure(tmp_path, hostile)
    assert len(str(caught.value)) < 1500


def test_what_a_plugin_prints_does_not_fill_the_disk(tmp_path: Path) -> None:
    prints = "sys.stdout.write('z' * 30_000_000)"
    measure(tmp_path, PLUGIN.format(at_import="", in_constructor="pass", in_forward=prints))
    assert sum(log.stat().st_size for log in (tmp_path / "run" / "logs").iterdir()) < 3_000_000


def test_where_no_process_can_be_started_a_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise BlockingIOError(11, os.strerror(11))

    monkeypatch.setattr("attnbench.child.spawned.subprocess.Popen", none_left)
    with pytest.raises(attnbench.errors.ProcessError, match="no process can be started: Resource temporarily"):
        attnbench.run(mechanisms=["mhsa"], res=[32], isolation="spawn", progress=False, out=tmp_path)
