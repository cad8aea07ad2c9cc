"""Whatever is typed, the command line answers in lines and with a status that it promises; nothing is measured here."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import fuzzing
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from attnbench.claims import audit
from attnbench.cli import main as command_line
from attnbench.errors import UsageError
from attnbench.plan.preflight import Finding, Preflight, Wanted
from attnbench.plugins import options
from attnbench.runs import session
from attnbench.runs.session import SessionOutcome

pytestmark = fuzzing.LONG
STATUSES = {0, 1, 2, 3, 130}
NOTHING = SessionOutcome(records=(), interrupted=False)
COMMANDS = {
    name: sorted(
        spelling
        for parameter in command.params
        for spelling in parameter.opts
        if spelling.startswith("-") and spelling not in {"--markdown", "--json", "--watch"}
    )
    for name, command in command_line.attnbench.commands.items()
    if name not in {"check", "env", "selfcheck"}  # which build layers and ask the machine
}
NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(["-0", "1e400", "0x10", "1_000", "٣", "²", "½", "9" * 500, "+1", " 1", "1 ", "1e-400", "--1", ""]),
)
NAMES = st.sampled_from(
    ["mhsa", "qna", "ours=qna", "qna:queries=2", "qna:=", ":", "=", "hmhsa,hmhsa", "./no.py:No", "no.py", "all", "none",
     "cpu", "cuda:99", "cuda:-1", "float32", "fp8", "layer", "network,layer", "224x", "x", "0x0", "1x1x1", "224,512",
     "latency", "digits", "folder:", "folder:.", "torch/", "hfds/", "on,off", "unfused", "fork", "4GiB", "1e999GB",
     "resnet18", "n=f", "=f", "n=", "semantic", "train", "sdpa:math", "-h", "--", "-", "--version", "@", "*"]
)  # fmt: skip
TEXTS = st.text(max_size=40) | st.sampled_from(
    ["", " ", ",", ",,,", "a" * 5000, "..", ".", "\udcff", "\x1b[2J", "\n", "=cmd()", "<script>", "%s", "{}", "$(id)"]
)
VALUES = NUMBERS | NAMES | TEXTS | st.lists(NUMBERS | NAMES, min_size=1, max_size=3).map(",".join)


def words(command: str) -> st.SearchStrategy[list[str]]:
    one = st.tuples(st.sampled_from(COMMANDS[command] or [""]), VALUES).map(list)
    joined = st.tuples(st.sampled_from(COMMANDS[command] or [""]), VALUES).map("=".join).map(lambda word: [word])
    parts = st.lists(one | joined | VALUES.map(lambda word: [word]), max_size=4)
    return parts.map(lambda found: [command, *(word for part in found for word in part)])


LINES = st.sampled_from(sorted(COMMANDS)).flatmap(words) | st.lists(VALUES, max_size=3)


def seen(wanted: Sequence[Wanted], **_: object) -> Preflight:
    """A preflight that finds whatever is named, without a process."""
    findings = []
    for one in wanted:
        try:
            name, values = options.split(one.spec)
            findings.append(Finding(wanted=one, name=name, options=values, backends=("sdpa",), distribution="a 1"))
        except UsageError as error:
            findings.append(Finding(wanted=one, mistakes=error.mistakes))
    return Preflight(findings=tuple(findings), devices=("cpu",))


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("typed"))
        patch.setattr("attnbench.child.start_server", lambda: None)
        patch.setattr(session.sweep.preflight, "take", seen)
        patch.setattr(session, "measure", lambda *_, **__: NOTHING)
        patch.setattr("attnbench.compare.rerun.rerun", refused)
        patch.setattr(audit, "run", lambda *_, **__: False)
        patch.setattr("attnbench.reach.asking.reach", refused)
        patch.setattr("attnbench.fleet.work.FleetWork.run", refused)
        patch.setattr("attnbench.engines.driving.Drive.run", refused)
        patch.setattr("attnbench.reach.asking.set_up", lambda _: None)
        patch.setattr("attnbench.calibration.asking.set_up", lambda _: None)
        patch.setattr("attnbench.calibration.asking.learn", refused)
        kept = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGHUP)]
        yield
        for number, handler in kept:
            signal.signal(number, handler)


def refused(*_: object, **__: object) -> Any:
    raise UsageError("nothing is measured here")


def below_here(word: str) -> str:
    """What can be typed, a NUL cannot, with no path in it that leads out of the folder."""
    word = word.replace("\0", "0")
    return word.replace("/", "|").replace("..", "|") if not word.startswith(("./", "torch/", "hfds/")) else word


@fuzzing.fuzzed(400)
@given(typed=LINES)
@example(typed=["report", "x" * 300])
@example(typed=["run", "--timeout", "inf"])
@example(typed=["run", "--timeout", "1e10"])
@example(typed=["run", "--res", "99999999999"])
@example(typed=["run", "--memory-limit", "infGB"])
@example(typed=["run", "--mechanisms", "\udcff"])
@example(typed=["run", "--threads", "²"])
@example(typed=["run", "--out", "\udcff", "--res", "32"])
@example(typed=["run", "--on", "local", "--out", "\udcff", "--res", "32"])
@example(typed=["run", "--on", "local", "--dry-run", "--out", "\udcff", "--res", "32"])
@example(typed=["run", "--on", "", "--site", "."])
@example(typed=["new", "\udcff"])
@example(typed=["reach", "--mechanisms", "mhsa", "--out", "\udcff"])
@example(typed=["reach", "--networks", "\udcff", "--checkpoint", "\udcff=x"])
@example(typed=["tasks", "shift:offset=\udcff"])
@example(typed=["tasks", "--seeds", "-1", "--epochs", "1" * 30])
@example(typed=["merge", "a", "a", "--out", "\udcff"])
@example(typed=["claims", "\x1f"])
@example(typed=["tasks", "shift:offset=\udcff", "--mechanisms", "qna"])
@example(typed=["tasks", "--mechanisms", "qna", "--out", "\udcff", "--seeds", "-1"])
@example(typed=["tasks", "--mechanisms", "qna"])
@example(typed=["reach", "--res", "0x10", "--checkpoint", "="])
@example(typed=["calibrate", "digits:\udcff"])
@example(typed=["calibrate", "--steps", "1" * 30, "--out", "\udcff"])
@example(typed=["calibrate", "digits", "--out", "\udcff", "--markdown", "."])
def test_a_command_line_ends_in_lines_and_a_status(typed: list[str]) -> None:
    typed = [below_here(word) for word in typed]
    screen, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", newline="") for _ in range(2))
    with (
        fuzzing.bounded("command lines"),
        contextlib.redirect_stdout(screen),
        contextlib.redirect_stderr(errors),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", ["attnbench", *typed])
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        try:
            command_line.main()
            status: object = 0
        except SystemExit as leave:
            status = leave.code
    assert (status or 0) in STATUSES
    errors.flush()
    said = errors.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert "Traceback" not in said
    assert status == 0 or said or set(typed) & {"--help", "-h"} or not typed
    assert all(one.isprintable() or one == "\n" for one in said), said
    assert len(said) < fuzzing.MOST_SAID


def test_the_commands_that_are_fuzzed_are_there() -> None:
    measuring, reading = (
        {"calibrate", "claims", "plan", "reach", "run", "tasks", "work"},
        {"advise", "explain", "history", "merge", "report", "status", "verify"},
    )
    assert measuring | reading | {"compare", "list", "new"} == set(COMMANDS)
