"""What is said of a death, and that lack of memory is said where the kernel counts it for the own control group."""

import signal

import pytest

from attnbench.child import death
from attnbench.record import Status

WELL = {"phase": "building", "said": "", "foreign": "", "memory_ran_out": False}


@pytest.mark.parametrize(
    ("exit_status", "more", "status", "from_outside", "reason"),
    [
        (3, {}, "crashed", False, "the process ended with status 3 while building"),
        (0, {"said": "bye"}, "crashed", False, "the process ended with status 0 while building (bye)"),
        (-signal.SIGSEGV, {}, "crashed", False, "killed by SIGSEGV while building"),
        (-35, {}, "crashed", False, "killed by signal 35 while building"),
        *(
            (-each, {}, "crashed", True, f"killed by {each.name} while building; no fault of a process's own")
            for each in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
        ),
        (-signal.SIGKILL, {"memory_ran_out": True}, "out-of-memory", False, "the kernel ended the process for lack of"),
        (None, {"memory_ran_out": True}, "out-of-memory", False, "the kernel ended the process for lack of memory"),
        (-signal.SIGSEGV, {"memory_ran_out": True}, "crashed", False, "killed by SIGSEGV while building"),
        (None, {}, "crashed", True, "what watches over the process was ended from outside while building"),
        (-signal.SIGKILL, {"foreign": "'5'"}, "crashed", False, "it wrote '5' into the channel of its process"),
    ],
)
def test_a_death_has_its_status_and_who_it_came_from(
    exit_status: int | None, more: dict, status: str, from_outside: bool, reason: str
) -> None:
    found = death.of(exit_status, **WELL | more)
    assert (found.status, found.from_outside) == (Status(status), from_outside)
    assert found.reason.startswith(reason)
