"""Runs that are killed at moments drawn by lot: are rows there that were acknowledged, and is anything left behind?

    python tests/helpers/killed_runs.py --kills 200

A run is the command line's own with workers that need no torch, forked from this process, which has everything loaded.
Before it goes on, each ``Store.append`` that has returned is noted in a file. Every kill is followed by a look at the
rows and by the same command again; a run that completes is put away and another begun.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from typed_runs import cells_of, completed, rows_of, status_of_main, typing

from attnbench import store
from attnbench.child import guardian, scratch
from attnbench.record import Record
from attnbench.report import plots, roofline

__all__ = ["plots", "roofline"]  # loaded here, so that no run has to

CELLS = cells_of("a", "b", sides=(32, 64, 96, 128, 160, 192))
_GONE_S = 60.0


@dataclass
class Tally:
    """What came of so many kills."""

    kills: Counter[str] = field(default_factory=Counter)
    """Who was killed how often."""
    acknowledged: int = 0
    lost: int = 0
    """Rows that were acknowledged and are not there, or not what they were, after any of the kills."""
    completed: int = 0
    """Runs that went on to their end by the same command."""
    failed: int = 0
    """Runs that ended otherwise though it was not the command that was killed."""
    tracebacks: int = 0
    left_running: int = 0
    folders_left: int = 0
    """Of temporary ones."""


@dataclass
class Folder:
    """One run's folder, with what was acknowledged in it."""

    path: Path
    lost: set[str] = field(default_factory=set)

    @property
    def noted(self) -> Path:
        return self.path.with_suffix(".acknowledged")

    @property
    def screen(self) -> Path:
        return self.path.with_suffix(".screen")

    def begin(self) -> int:
        """Give the command in a process of its own and return its number."""
        number = os.fork()
        if number == 0:
            status = 1
            try:
                status = self._run()
            finally:
                os._exit(status)
        return number

    def _run(self) -> int:
        for descriptor in (1, 2):
            os.dup2(os.open(self.screen, os.O_WRONLY | os.O_APPEND | os.O_CREAT), descriptor)
        note = os.open(self.noted, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        append = store.Store.append

        def noted(kept: store.Store, record: Record) -> None:
            append(kept, record)
            os.write(note, f"{record.to_json()}\n".encode())

        with typing(self.path, cells=CELLS), pytest.MonkeyPatch.context() as patch:
            patch.setattr(store.Store, "append", noted)
            return status_of_main()

    def look(self) -> int:
        """Look for what was acknowledged, and return how many rows that are."""
        there = rows_of(self.path)
        noted = self.noted.read_text().splitlines() if self.noted.exists() else []
        for record in map(Record.from_json, noted):
            if there.get(record.cell.key) != record:
                self.lost.add(record.cell.key)
        return len(noted)

    def count(self, tally: Tally) -> None:
        tally.acknowledged += self.look()
        tally.lost += len(self.lost)
        tally.tracebacks += self.screen.exists() and self.screen.read_text().count("Traceback")


def whom(run: int, chance: random.Random) -> tuple[str, int]:
    """Return who is to be killed: the command itself in three of four cases, else a process below it, if there is."""
    below = [each.pid for each in psutil.Process(run).children(recursive=True)] if chance.random() < 0.25 else []
    return ("a process below it", chance.choice(below)) if below else ("the command", run)


def kill(folder: Folder, tally: Tally, chance: random.Random, longest_s: float) -> bool:
    """Begin a run, kill somebody after a while drawn by lot, and return whether it came to its end all the same."""
    run = folder.begin()
    time.sleep(chance.uniform(0, longest_s))
    name, number = whom(run, chance)
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)
        tally.kills[name] += 1
    status = os.waitstatus_to_exitcode(os.waitpid(run, 0)[1])
    if number == run and status == 0:  # it had ended before
        tally.kills[name] -= 1
    tally.failed += status > 0
    tally.left_running += not alone()
    folder.look()
    return status == 0


def alone() -> bool:
    """Wait until nothing is left of a run: orphans fall to this process."""
    deadline = time.monotonic() + _GONE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not psutil.Process().children(recursive=True):
            return True
        time.sleep(0.005)
    return False


def killed(kills: int, within: Path, *, seed: int) -> Tally:
    """Kill so many times and return what came of it; assert that the last run is completed."""
    guardian.adopt_orphans()
    tempfile.tempdir = str(within / "scratch")
    Path(tempfile.tempdir).mkdir()
    chance, tally, number = random.Random(seed), Tally(), 0
    whole = Folder(within / "whole")
    begun = time.monotonic()
    assert os.waitpid(whole.begin(), 0)[1] == 0
    longest_s = 1.2 * (time.monotonic() - begun)
    folder = Folder(within / "run0")
    while tally.kills.total() < kills:
        if kill(folder, tally, chance, longest_s):
            folder.count(tally)
            tally.completed += 1
            number += 1
            folder = Folder(within / f"run{number}")
    folder.count(tally)
    completed(folder.path, cells=CELLS)
    with scratch.scratch():
        tally.folders_left = len(list(Path(tempfile.tempdir).iterdir())) - 1
    return tally


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=2026)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as within:
        tally = killed(asked.kills, Path(within), seed=asked.seed)
    sys.stdout.write(json.dumps(vars(tally)) + "\n")


if __name__ == "__main__":
    main()
