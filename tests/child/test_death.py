"""What is said of a death, and that lack of memory is said where the kernel counts it for the own control group."""

import signal
from pathlib import Path

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


EVENTS, CONTROL = "low 0\noom 3\noom_kill {}\noom_group_kill 0\n", "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"


@pytest.mark.parametrize(
    ("group", "files", "kills"),
    [
        ("0::/user.slice/run.scope", {"user.slice/run.scope/memory.events": EVENTS.format(2)}, 2),
        ("0::/", {"memory.events": EVENTS.format(1)}, 1),
        ("0::/docker/f00", {"memory.events": EVENTS.format(4)}, 4),
        ("4:memory:/job\n0::/", {"memory/job/memory.oom_control": CONTROL.format(5)}, 5),
        ("9:cpu,memory:/docker/f00", {"memory/memory.oom_control": CONTROL.format(6)}, 6),
        ("4:memory:/job", {"memory/job/memory.oom_control": "oom_kill_disable 0\n"}, None),
        ("0::/", {}, None),
        ("", {"memory.events": EVENTS.format(1)}, None),
    ],
)
def test_kills_for_lack_of_memory_are_those_of_the_own_control_group(
    tmp_path: Path, group: str, files: dict[str, str], kills: int | None
) -> None:
    for name, text in {"proc/self/cgroup": group, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "proc/vmstat").write_text("oom_kill 99\n")
    assert death.out_of_memory_kills(tmp_path) == kills


def test_no_kill_of_another_group_is_taken_for_one_of_ours(tmp_path: Path) -> None:
    assert death.out_of_memory_kills(tmp_path) is None
