"""What control groups allow, in every layout that they have: version 1, 2, both, nested, and seen from a container."""

from collections.abc import Callable
from pathlib import Path

import pytest

from attnbench.devices import cgroups, machine

Machine = Callable[..., Path]
V2 = "24 1 0:21 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
V1 = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
CONTAINER = "32 31 0:29 /docker/f00 /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"
ELSEWHERE = "32 31 0:29 / /cg2 rw shared:9 - cgroup2 none rw"


@pytest.fixture
def described(tmp_path: Path) -> Machine:
    def describe(groups: str, mounts: str = "", **files: str) -> Path:
        texts = {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts}
        for name, text in {**texts, **files}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return describe


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "quota"),
    [
        ("0::/", V2, {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/", V2, {"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ("0::/a.slice/b.scope", V2, {"sys/fs/cgroup/a.slice/cpu.max": "400000 100000",
                                     "sys/fs/cgroup/a.slice/b.scope/cpu.max": "max 100000"}, 4.0),
        ("0::/slurm/job_7/step_0", V2, {"sys/fs/cgroup/slurm/job_7/cpu.max": "300000 100000",
                                        "sys/fs/cgroup/slurm/job_7/step_0/cpu.max": "800000 100000"}, 3.0),
        ("0::/job", ELSEWHERE, {"cg2/job/cpu.max": "150000 100000"}, 1.5),
        ("3:cpu,cpuacct:/job\n0::/", V1, {"sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "200000",
                                          "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000"}, 2.0),
        ("3:cpu,cpuacct:/job", V1, {"sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "-1",
                                    "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000"}, None),
        ("3:cpu:/docker/f00", CONTAINER, {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
                                          "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 1.0),
        ("3:cpu:/docker/f00/sub", CONTAINER, {"sys/fs/cgroup/cpu/sub/cpu.cfs_quota_us": "70000",
                                              "sys/fs/cgroup/cpu/sub/cpu.cfs_period_us": "100000"}, 0.7),
        ("3:cpu:/", "", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "25000",
                         "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 0.25),
        ("0::/", V2, {"sys/fs/cgroup/cpu.max": "nonsense"}, None),
        ("0::/", V2, {"sys/fs/cgroup/cpu.max": "100 0"}, None),
        ("", "", {"sys/fs/cgroup/cpu.max": "50000 100000"}, None),
    ],
)  # fmt: skip
def test_the_strictest_quota_of_all_groups_around_a_process_counts(described, groups, mounts, files, quota) -> None:
    root = described(groups, mounts)
    for folder in {Path(name).parent for name in files} | {Path("sys/fs/cgroup/a.slice/b.scope")}:
        (root / folder).mkdir(parents=True, exist_ok=True)
    assert cgroups.quota_cores(described(groups, mounts, **files)) == quota


@pytest.mark.parametrize(("quota", "cores"), [("50000", 1), ("199999", 1), ("200000", 2), ("900000", 4), ("max", 4)])
def test_threads_are_as_many_as_a_quota_can_feed(described, monkeypatch, quota: str, cores: int) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: frozenset(range(4)))
    root = described("0::/", V2, **{"sys/fs/cgroup/cpu.max": f"{quota} 100000"})
    assert machine.whole_cores(root) == cores


def test_what_quotas_held_back_is_summed_over_the_groups_in_both_versions_units(described) -> None:
    inside = {
        "sys/fs/cgroup/a/cpu.stat": "usage_usec 9\nthrottled_usec 2500000\n",
        "sys/fs/cgroup/cpu.stat": "throttled_usec 0\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_periods 3\nthrottled_time 1500000000\n",
    }
    root = described("3:cpu,cpuacct:/\n0::/a", f"{V2}\n{V1}", **inside)
    assert cgroups.quota_pause_s(root) == 4.0
    assert cgroups.quota_pause_s(described("0::/", V2, **{"sys/fs/cgroup/cpu.stat": "usage_usec 9\n"})) is None


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": "5000", "memory.current": "1000"}, 4000),
        ({"memory.max": "5000", "memory.current": "4000", "memory.stat": "anon 5\ninactive_file 3000\n"}, 4000),
        ({"memory.max": "5000", "memory.current": "6000"}, 0),
        ({"memory.max": "max", "memory.current": "1000"}, None),
        ({"job/memory.max": "9000", "job/memory.current": "100", "memory.max": "5000", "memory.current": "1000"}, 4000),
        ({"job/memory.limit_in_bytes": "3000", "job/memory.usage_in_bytes": "1000",
          "job/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n"}, 2500),
        ({"memory.limit_in_bytes": "9223372036854771712", "memory.usage_in_bytes": "1000"}, None),
    ],
)  # fmt: skip
def test_memory_is_what_the_strictest_group_leaves_without_what_the_kernel_can_drop(described, files, left) -> None:
    named = {f"sys/fs/cgroup/memory/{name}": text for name, text in files.items()}
    mounts = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
    assert cgroups.available_memory_bytes(described("4:memory:/job", mounts, **named)) == left


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
    assert cgroups.out_of_memory_kills(tmp_path) == kills


def test_no_kill_of_another_group_is_taken_for_one_of_ours(tmp_path: Path) -> None:
    assert cgroups.out_of_memory_kills(tmp_path) is None
