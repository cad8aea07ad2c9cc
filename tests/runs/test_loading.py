"""What is imported while the parent waits."""

import sys
from pathlib import Path

import pytest

from attnbench.runs import loading


def test_what_draws_the_report_is_there_when_the_wait_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.2)\ndone = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(loading, "_FOR_THE_REPORT", ("slow_to_import",))
    with loading.report_meanwhile():
        pass
    assert sys.modules.pop("slow_to_import").done


def test_where_no_thread_is_to_be_had_the_wait_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(loading.Thread, "start", none_left)
    with loading.report_meanwhile():
        waited = True
    assert waited
