"""What becomes of a row that something speaks against."""

from __future__ import annotations

from attnbench.record import Status
from attnbench.worker.objection import Objection, verdict

COUNTED, TIMED = {"macs": 7}, {"latency_median_s": 0.5}


def test_nothing_found_leaves_the_row_as_it_is():
    assert verdict([], COUNTED, timed=TIMED) == (Status.OK, "", COUNTED | TIMED)


def test_proof_rejects_the_row_with_what_was_found_and_the_command_that_shows_it():
    proof = Objection(said="its outputs are not its own", sure=True, shown_by="attnbench check ./mine.py:Mine")
    doubt = Objection(said="a thread goes on", sure=False)
    status, reason, metrics = verdict([doubt, proof], COUNTED, timed=TIMED)
    assert status is Status.REJECTED
    assert reason == "its outputs are not its own; shown by: attnbench check ./mine.py:Mine"
    assert metrics == COUNTED  # what was timed is nobody's figure


def test_doubt_leaves_the_figures_and_says_so():
    doubts = [Objection(said="a thread goes on", sure=False), Objection(said="memory elsewhere", sure=False)]
    status, reason, metrics = verdict(doubts, COUNTED, timed=TIMED)
    assert (status, reason) == (Status.OK, "")
    assert metrics == COUNTED | TIMED | {"suspicious": "a thread goes on; memory elsewhere"}
