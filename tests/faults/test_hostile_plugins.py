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
    for record in reporting.read(folder / "run"):
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
