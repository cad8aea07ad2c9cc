"""What is no event of the child's own costs the child, and is never a traceback in the parent."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from told import EVENTS, Told

from attnbench.child import ENDED, Child

HELPERS = Path(__file__).parents[1] / "helpers"
ENOUGH_S = 100.0
Start = Callable[..., Child]

ON_EVERY_DESCRIPTOR = """
say(1)
for descriptor in range(3, 64):
    try:
        os.write(descriptor, {said})
    except OSError:
        pass
say(2)
time.sleep(3600)
"""
FOREIGN = {
    "a number": (r"b'5\n'", "'5'"),
    "an event of a name that is known": (
        r"""b'{"event": "told", "told": 1}\n'""",
        """'{"event": "told", "told": 1}'""",
    ),
    "no event": (r"""b'{"a": 1}\n'""", """'{"a": 1}'"""),
    "nesting": (r"b'[' * 100_000 + b'\n'", f"'{'[' * 80}... ("),
    "what is no text": (r"b'\xff\x00\x1b[2J\n'", "'\N{REPLACEMENT CHARACTER}"),
    "an endless line": (r"b'x' * 30_000_000", "'xxxxx"),
    "endless lines": (r"b'x\n' * 10_000_000", "'x'"),
    "half a line and an event after it": ("b'x'", "'x"),
    "nothing": (r"b'\n'", "''"),
}


@pytest.fixture(params=["spawn", "fork"])
def start(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setenv("PYTHONPATH", str(HELPERS), prepend=os.pathsep)
    return partial(Child, "does_as_told", events=EVENTS, log=tmp_path / "log", threads=1, isolation=request.param)


@pytest.mark.parametrize(("said", "shown"), FOREIGN.values(), ids=FOREIGN.keys())
def test_what_a_plugin_writes_into_the_channel_ends_its_process_and_is_shown(
    start: Start, said: str, shown: str
) -> None:
    with start(ON_EVERY_DESCRIPTOR.format(said=said)) as child:
        assert child.next_event(timeout_s=ENOUGH_S).told == 1
        assert child.next_event(timeout_s=ENOUGH_S) is ENDED
        death = child.death("at it")
    assert (death.status, death.from_outside) == ("crashed", False)
    assert death.reason.startswith(f"it wrote {shown}")
    assert death.reason.endswith("into the channel of its process while at it")
    assert len(death.reason) < 300


@pytest.mark.parametrize(
    "event",
    [{"event": "told"}, {"event": "told", "told": 1, "more": 2}, {"event": "other"}, {}, 5, [], None, {"event": []}],
    ids=str,
)
def test_an_event_that_does_not_fit_its_type_is_none(start: Start, event: object) -> None:
    with start(f"_say({event!r}); time.sleep(3600)") as child:
        assert child.next_event(timeout_s=ENOUGH_S) is ENDED
        assert "into the channel of its process" in child.death("at it").reason


FORKS = {
    "os.fork": "os.fork()",
    "fork of C": "import ctypes; ctypes.CDLL(None).fork()",
    "forks of forks": "os.fork(); os.fork(); os.fork()",
}


@pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS.keys())
def test_a_fork_that_is_let_go_on_says_nothing_and_ends(start: Start, fork: str) -> None:
    with start(f"import ctypes; owner = os.getpid(); {fork}; say(os.getpid() == owner); time.sleep(0.5)") as child:
        assert child.next_event(timeout_s=ENOUGH_S) == Told(told=True)
        assert child.next_event(timeout_s=ENOUGH_S) is ENDED
        assert child.exit_status == 0


def test_a_plugin_finds_the_secret_neither_in_arguments_nor_in_the_environment_nor_in_the_channel(start: Start) -> None:
    code = """
secret = _say.__closure__[[*_say.__code__.co_freevars].index("secret")].cell_contents
seen = b" ".join(Path(f"/proc/{pid}/{name}").read_bytes()
                 for pid in (os.getpid(), os.getppid()) for name in ("cmdline", "environ"))
os.set_blocking(int(_events), False)
try:
    seen += os.read(int(_events), 100)
except BlockingIOError:
    pass
say([len(secret), secret in seen, os.get_inheritable(int(_events))])
"""
    with start(code) as child:
        assert child.next_event(timeout_s=ENOUGH_S).told == [32, False, False]


def test_replaced_functions_of_the_library_do_not_change_what_is_said(start: Start) -> None:
    code = "import json; json.dumps = print = os.write = os.getpid = lambda *a, **k: 1; say({'a': 1})"
    with start(code) as child:
        assert child.next_event(timeout_s=ENOUGH_S).told == {"a": 1}
