"""What plugins do to the process they are in, to its parent, or to what they say: one table for ``tests/faults``."""

from __future__ import annotations

from dataclasses import dataclass

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
    "raises what is no Exception": Kind("raise KeyboardInterrupt('mine')", {"failed", "crashed"}),
    "leaves by sys.exit": Kind("sys.exit('enough')", {"failed", "crashed"}),
    "leaves without a word": Kind("os._exit(0)", {"crashed"}, "status 0"),
    "recurses for ever": Kind("self.forward(x)", {"failed", "crashed"}),
    "says a formula": Kind("raise ValueError('=cmd|calc!A1')", {"failed"}, "=cmd|calc!A1"),
    "says what ends a table": Kind(r"raise ValueError('a | b\n\n# <script>')", {"failed"}, "ValueError: a | b"),
    "faults in C": Kind("ctypes.string_at(0)", {"crashed"}, "SIGSEGV"),
    "closes what it is told to print to": Kind("os.close(1); os.close(2)", {"ok", "crashed", "failed"}),
    "replaces what it is told to print to": Kind("sys.stdout = sys.stderr = None", {"ok", "failed"}),
    "says another time of day": Kind("time.time = lambda: -1e12", {"ok", "failed"}, where="at_import"),
    "stops its own process": Kind("os.kill(os.getpid(), signal.SIGSTOP)", {"timeout"}, "took longer than"),
    "sleeps in its constructor": Kind("time.sleep(3600)", {"timeout"}, "took longer than", "in_constructor"),
    "warns of errors": Kind("import warnings; warnings.simplefilter('error')", {"ok", "failed"}),
    "excepts nothing": Kind("sys.excepthook = None; sys.unraisablehook = None", {"ok", "failed"}),
    "traces every line": Kind("sys.settrace(lambda *_: None)", {"ok", "failed"}),
    "has no room on its stack": Kind("sys.setrecursionlimit(60)", {"ok", "failed", "crashed"}),
    "removes its temporary folder": Kind("os.environ['TMPDIR'] = '/no/such'", {"ok", "failed"}),
    "removes its own file": Kind("Path(__file__).unlink(missing_ok=True)", {"ok", "failed"}),
    "ignores signals and hangs": Kind(
        "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; time.sleep(3600)", {"timeout"}, "took longer than"
    ),
}
