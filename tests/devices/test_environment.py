"""The fingerprint: what it is made of, what its id depends on, and that it never raises."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
import torch

from attnbench.devices import checkout, environment, machine
from attnbench.report.environments import describe


def silent(arguments):
    """Stand in for a machine on which no command is installed."""


XEON = """\
processor\t: {0}
model name\t: Intel(R) Xeon(R) Gold 6226R CPU @ 2.90GHz
physical id\t: 0
core id\t\t: {1}
cpu MHz\t\t: {2}
"""
H200 = {
    "driver_version": "570.86.15",
    "power.limit": "700.00 W",
    "clocks.max.sm": "1980 MHz",
    "clocks.max.memory": "3201 MHz",
    "temperature.gpu": "31",
    "clocks.sm": "345 MHz",
    "clocks.mem": "3201 MHz",
    "power.draw": "76.2 W",
}


@pytest.fixture
def root(tmp_path):
    """A machine of two cores with two threads each."""
    (tmp_path / "proc").mkdir()
    blocks = [XEON.format(i, i % 2, 2900 + i) for i in range(4)]
    (tmp_path / "proc/cpuinfo").write_text("\n".join(blocks))
    governor = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    governor.parent.mkdir(parents=True)
    governor.write_text("powersave\n")
    return tmp_path


@pytest.fixture
def h200(monkeypatch):
    """A GPU that torch sees and nvidia-smi answers for."""
    torch.backends.cudnn.version()  # found out once, before it can be compared with a GPU that is not there
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    seen = SimpleNamespace(
        uuid="abc-1", name="NVIDIA H200", major=9, minor=0, total_memory=143156 * 2**20, multi_processor_count=132
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: seen)
    answers = dict(H200)

    def run(arguments):
        if arguments[:3] != ["nvidia-smi", "-i", "GPU-abc-1"]:
            return None
        wanted = arguments[3].removeprefix("--query-gpu=").split(",")
        return ", ".join(answers[field] for field in wanted)

    run.answers = answers
    return run


def test_the_processor_is_described_from_what_linux_says(root):
    cpu = environment.take(threads=1, root=root, run=silent).cpu
    assert cpu.model == "Intel Xeon Gold 6226R"
    assert cpu.logical_cores == os.cpu_count()
    assert 1 <= (cpu.physical_cores or 1) <= cpu.logical_cores
    assert cpu.usable_cores == len(machine.usable_cores())
    assert cpu.governor == "powersave"


def test_a_machine_without_proc_is_described_as_far_as_it_goes(tmp_path):
    def mac(arguments):
        return "Apple M2 Pro" if arguments == ["sysctl", "-n", "machdep.cpu.brand_string"] else None

    found = environment.take(threads=1, root=tmp_path, run=mac)
    assert found.cpu.model == "Apple M2 Pro"
    assert (found.cpu.governor, found.state["cpu_mhz"]) == (None, None)
    assert environment.hardware_name(found).startswith("Apple M2 Pro, ")


@pytest.mark.parametrize(
    ("model", "short"),
    [
        ("AMD EPYC 7763 64-Core Processor", "AMD EPYC 7763"),
        ("Intel(R) Core(TM) i7-1185G7 @ 3.00GHz", "Intel Core i7-1185G7"),
        ("AMD EPYC", "AMD EPYC"),
    ],
)
def test_a_processor_s_name_is_shortened_to_what_people_say(tmp_path, model, short):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(f"processor : 0\nmodel name : {model}\n")
    assert machine.cpu(tmp_path, run=silent).model == short


def test_hardware_is_named_by_processor_and_cores():
    found = environment.take(threads=1, run=silent)
    cpu = machine.Cpu(model="AMD EPYC", physical_cores=2, logical_cores=4, usable_cores=4, governor=None)
    assert environment.hardware_name(replace(found, cpu=cpu)) == "AMD EPYC, 2 cores"
    assert environment.hardware_name(replace(found, cpu=replace(cpu, usable_cores=1))) == "AMD EPYC, 1 core"


def test_a_gpu_is_described_and_names_the_hardware(root, h200):
    found = environment.take(threads=1, device="cuda:0", root=root, run=h200)
    assert environment.hardware_name(found) == "NVIDIA H200"
    assert (found.gpu.driver, found.gpu.compute_capability, found.gpu.power_limit) == ("570.86.15", "9.0", "700.00 W")
    assert found.state["gpu_temperature_celsius"] == "31"


def test_a_gpu_that_is_not_measured_is_not_looked_at(root, h200):
    found = environment.take(threads=1, device="cpu", root=root, run=h200)
    assert found.gpu is None
    assert found.state["gpu_temperature_celsius"] is None


def test_a_gpu_that_nvidia_smi_does_not_know_is_what_torch_sees_and_never_the_processor(root, h200):
    found = environment.take(threads=1, device="cuda", root=root, run=silent)
    assert environment.hardware_name(found) == "NVIDIA H200"
    assert (found.gpu.multiprocessors, found.gpu.memory, found.gpu.driver) == (132, "143156 MiB", None)
    assert found.environment_id != environment.take(threads=1, device="cpu", root=root, run=silent).environment_id
    assert found.state["gpu_uuid"] == "GPU-abc-1"


def test_two_fingerprints_of_one_environment_have_one_id(root, h200):
    fastest = max(machine.usable_cores() & {0, 1, 2, 3})
    first = environment.take(threads=1, device="cuda", root=root, run=h200)
    h200.answers |= {"temperature.gpu": "80", "clocks.sm": "1980 MHz", "power.draw": "690 W"}
    cpuinfo = root / "proc/cpuinfo"
    cpuinfo.write_text(cpuinfo.read_text().replace("cpu MHz\t\t: 29", "cpu MHz\t\t: 35"))
    second = environment.take(threads=1, device="cuda", root=root, run=h200)
    assert (first.state["cpu_mhz"], second.state["cpu_mhz"]) == (2900 + fastest, 3500 + fastest)
    assert first.environment_id == second.environment_id
    assert len(first.environment_id) == 12
    int(first.environment_id, 16)


def test_another_version_of_attnbench_keeps_the_id():
    found = environment.take(threads=1, run=silent)
    assert replace(found, code={"attnbench": "9.9", "commit": "f" * 40, "clean": False}).environment_id == (
        found.environment_id
    )


@pytest.mark.parametrize("part", ["cpu", "gpu", "memory_gib", "software", "flags", "variables"])
def test_every_other_part_changes_the_id(root, h200, part):
    found = environment.take(threads=1, device="cuda", root=root, run=h200)
    value = getattr(found, part)
    changed = {
        "cpu": lambda: replace(value, model="another"),
        "gpu": lambda: replace(value, driver="another"),
        "memory_gib": lambda: value + 1,
    }.get(part, lambda: {**value, "another": 1})()
    assert replace(found, **{part: changed}).environment_id != found.environment_id


def test_parts_are_either_hashed_or_known_not_to_be():
    parts = {field.name for field in fields(environment.Environment)}
    assert parts == {"cpu", "gpu", "memory_gib", "software", "flags", "variables", "code", "state"}


def test_threads_and_switches_of_torch_change_the_id():
    def identify(threads: int = 1) -> str:
        return environment.take(threads=threads, run=silent).environment_id

    plain = identify()
    assert identify(threads=2) != plain
    torch.backends.cudnn.benchmark = True
    try:
        assert identify() != plain
    finally:
        torch.backends.cudnn.benchmark = False
    torch.backends.cuda.enable_flash_sdp(False)
    try:
        assert identify() != plain
    finally:
        torch.backends.cuda.enable_flash_sdp(True)
    assert identify() == plain


@pytest.mark.parametrize(
    "name",
    ["KMP_BLOCKTIME", "ONEDNN_MAX_CPU_ISA", "DNNL_DEFAULT_FPMATH_MODE", "OMP_PLACES", "MKL_ENABLE_INSTRUCTIONS",
     "ATEN_CPU_CAPABILITY", "TORCH_COMPILE_DISABLE", "TORCHINDUCTOR_MAX_AUTOTUNE", "MALLOC_ARENA_MAX", "LD_PRELOAD"],
)  # fmt: skip
def test_variables_that_change_speed_are_part_of_what_is_compared(monkeypatch, name):
    monkeypatch.delenv(name, raising=False)
    without = environment.take(threads=1, run=silent)
    monkeypatch.setenv(name, "1")
    found = environment.take(threads=1, run=silent)
    assert found.variables[name] == "1"
    assert found.environment_id != without.environment_id


@pytest.mark.parametrize(
    "name",
    ["SECRET_TOKEN", "CUDA_HOME", "CUDA_VISIBLE_DEVICES", "TORCH_HOME", "TORCH_LOGS", "PYTORCH_VERSION",
     "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "KMP_DUPLICATE_LIB_OK"],
)  # fmt: skip
def test_other_variables_are_not_recorded(monkeypatch, name):
    monkeypatch.setenv(name, "xyz")
    assert "xyz" not in json.dumps(environment.take(threads=1, run=silent).to_dict())


def test_a_quota_is_part_of_what_is_compared_and_of_the_machine_s_name(root):
    free = environment.take(threads=1, root=root, run=silent)
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cgroup").write_text("0::/\n")
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/cpu.max").write_text("50000 100000\n")
    held = environment.take(threads=1, root=root, run=silent)
    assert (free.cpu.quota_cores, held.cpu.quota_cores) == (None, 0.5)
    assert free.environment_id != held.environment_id
    assert environment.hardware_name(held) == f"{environment.hardware_name(free)}, quota 0.5"


ARM = "processor : 0\nCPU implementer : 0x41\nCPU architecture: 8\nCPU part : 0xd0c\n"


@pytest.mark.parametrize(
    ("lscpu", "name"),
    [
        ("Architecture: aarch64\nModel name:    Neoverse-N1\n", "Neoverse-N1 (implementer 0x41, part 0xd0c)"),
        ("Model name:   -\n", "ARM (implementer 0x41, part 0xd0c)"),
        (None, "ARM (implementer 0x41, part 0xd0c)"),
    ],
)
def test_a_processor_of_arm_is_told_by_maker_and_part(tmp_path, lscpu, name):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(ARM)
    assert machine.cpu(tmp_path, run=lambda arguments: lscpu if arguments == ["lscpu"] else None).model == name


def test_precision_set_by_torch_s_newer_interface_does_not_raise(monkeypatch):
    def refuse() -> str:
        raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", refuse)
    assert environment.take(threads=1, run=silent).flags["matmul_precision"] is None


def test_the_record_s_form_is_json_with_the_columns_on_top():
    found = environment.take(threads=3)
    back = json.loads(json.dumps(found.to_dict()))
    assert back["environment_id"] == found.environment_id
    assert back["hardware"] == environment.hardware_name(found)
    assert back["torch_version"] == torch.__version__
    assert back["flags"]["threads"] == 3


def test_outside_a_checkout_commit_and_tree_are_not_known(tmp_path):
    assert checkout.own(tmp_path, machine.run_command) == {"commit": None, "clean": None}


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True)


def test_commit_and_tree_are_those_of_the_checkout(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "__init__.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "a")
    head = git(tmp_path, "rev-parse", "HEAD").stdout.strip()
    assert checkout.own(tmp_path, machine.run_command) == {"commit": head, "clean": True}
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "records.jsonl").write_text("what a run writes is no change of its code")
    assert checkout.own(tmp_path, machine.run_command) == {"commit": head, "clean": True}
    (tmp_path / "__init__.py").write_text("x = 1\n")
    assert checkout.own(tmp_path, machine.run_command) == {"commit": head, "clean": False}


def test_a_repository_that_merely_surrounds_the_package_is_not_its_own(tmp_path):
    git(tmp_path, "init")
    installed = tmp_path / "venv"
    installed.mkdir()
    (installed / "__init__.py").write_text("")
    (tmp_path / "a").write_text("")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "a")
    assert checkout.own(installed, machine.run_command) == {"commit": None, "clean": None}


def test_a_command_that_is_missing_or_fails_says_nothing():
    assert machine.run_command(["no-such-command-anywhere"]) is None
    assert machine.run_command(["false"]) is None
    assert machine.run_command(["echo", "yes"]) == "yes"


def test_description_has_a_line_for_everything(root, h200):
    found = environment.take(threads=1, device="cuda", root=root, run=h200)
    lines = dict(describe(found.to_dict()))
    assert lines["hardware"] == "NVIDIA H200"
    assert lines["cpu model"] == "Intel Xeon Gold 6226R"
    assert lines["gpu driver"] == "570.86.15"
    assert lines["flags threads"] == "1"
    assert lines["code commit"] == "not known"
    assert len(lines) == len(describe(found.to_dict()))


def test_memory_that_can_be_had_is_within_the_limit_of_the_control_group(tmp_path):
    whole = machine.available_memory_bytes(tmp_path)
    assert 0 < whole <= machine.memory_bytes()
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.current").write_text("1000\n")
    (group / "memory.max").write_text("5000\n")
    assert machine.available_memory_bytes(tmp_path) == 4000
    (group / "memory.max").write_text("max\n")
    assert machine.available_memory_bytes(tmp_path) > 4000
