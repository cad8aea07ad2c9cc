"""Plugins that do something to the process they are in, to its parent, or to what they say: each costs itself alone."""

import os
import tempfile
import time
from pathlib import Path

import pytest
from hostile_kinds import GOOD, KINDS, PLUGIN, Kind
from processes import runs

import attnbench
from attnbench.errors import UsageError
from attnbench.record import Record
from attnbench.runs import reporting


@pytest.fixture(autouse=True)
def _scratch_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))


TOGETHER = (
    "writes a number at import",
    "writes an event",
    "raises what is no text",
    "kills itself",
    "leaves a session behind",
    "leaves without a word",
    "closes what is open",
    "faults in C",
)
"""Kinds that cost no time: what the normal suite has of them."""


def measure(folder: Path, *hostile: str, timeout: float = 60) -> dict[str, Record]:
    """Measure plugins among two that do no harm, and return their rows by the name of the file, or of the built-in."""
    (folder / "good.py").write_text(GOOD)
    given = [f"{folder}/good.py:Good"]
    for number, content in enumerate(hostile):
        (folder / f"hostile{number}.py").write_text(content)
        given.append(f"{folder}/hostile{number}.py:Hostile")
    found = attnbench.run(
        mechanisms=[*given, "mhsa"],
        scope="layer",
        res=[32],
        until="memory",
        baseline="none",
        progress=False,
        timeout=timeout,
        out=folder / "run",
    )
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
    rows = {Path(record.cell.mechanism.partition(":")[0]).stem: record for record in reporting.read(folder / "run")}
    assert len(found.records) == len(rows) == 2 + len(hostile)
    assert rows["good"].status == rows["mhsa"].status == "ok"
    return rows


def written(kind: Kind) -> str:
    return PLUGIN.format(**{"at_import": "", "in_constructor": "pass", "in_forward": "pass"} | {kind.where: kind.does})


def check(row: Record, kind: Kind) -> None:
    assert row.status in kind.statuses, row.reason
    assert kind.reason in row.reason
    assert len(row.reason) < 1000


def none_started(folder: Path) -> None:
    """Wait for what plugins have started to be gone."""
    for started in folder.glob("*.started"):
        while runs(int(started.read_text())):
            time.sleep(0.01)


def test_hostile_plugins_together_cost_none_of_the_others(tmp_path: Path) -> None:
    kinds = [KINDS[name] for name in TOGETHER]
    rows = measure(tmp_path, *map(written, kinds))
    for number, kind in enumerate(kinds):
        check(rows[f"hostile{number}"], kind)
    none_started(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_hostile_plugin_costs_itself_alone(tmp_path: Path, kind: Kind) -> None:
    rows = measure(tmp_path, written(kind), timeout=5 if "timeout" in kind.statuses else 60)
    check(rows["hostile0"], kind)
    none_started(tmp_path)


def test_an_import_that_raises_five_megabytes_is_a_short_mistake(tmp_path: Path) -> None:
    hostile = PLUGIN.format(at_import="raise ValueError('x' * 5_000_000)", in_constructor="pass", in_forward="pass")
    with pytest.raises(UsageError, match=r"xxx\.\.\. \(5,000,000 characters\)") as caught:
        measure(tmp_path, hostile)
    assert len(str(caught.value)) < 1500


@pytest.mark.slow
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
