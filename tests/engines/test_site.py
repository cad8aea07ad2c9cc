"""The profile of a site: what it says of kinds, and where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnbench.engines import site
from attnbench.engines.ray import RayEngine
from attnbench.engines.slurm import SlurmEngine
from attnbench.errors import UsageError
from attnbench.fleet.kinds import HardwareKind

PROFILE = """
[slurm]
account = "vision"
partition = "gpu"

[kinds.h100]
named = "H100 80GB"
threads = 8
memory = "64GiB"
machines = 4

[kinds.h100.slurm]
gres = "gpu:h100:1"
partition = "gpu-large"

[kinds."old box"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text)
    return path


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        site.read(written(folder, text))
    return [mistake.removeprefix(f"{folder}/") for mistake in caught.value.mistakes]


def test_a_profile_names_kinds_once_and_what_each_engine_is_told_of_them(tmp_path: Path) -> None:
    found = site.read(written(tmp_path, PROFILE.replace('[kinds."old box"]', '[kinds.old-box]\ndevice = "cpu"')))
    assert found.hardware["h100"] == HardwareKind(
        name="h100", device="cuda:0", named="H100 80GB", threads=8, memory_bytes=64 * 2**30
    )
    assert (found.kinds["h100"].machines, found.kinds["old-box"].machines) == (4, 1)
    assert (found.kinds["h100"].told, found.kinds["old-box"].told) == (False, True)
    of_h100, of_all = found.options(SlurmEngine, "h100"), found.options(SlurmEngine)
    assert (of_h100.partition, of_h100.account, of_h100.gres) == ("gpu-large", "vision", "gpu:h100:1")
    assert (of_all.partition, of_all.account, of_all.gres) == ("gpu", "vision", "")
    assert found.options(RayEngine, "h100").resources == {}


def test_without_a_profile_there_are_no_kinds_and_engines_have_their_defaults() -> None:
    found = site.read(None)
    assert (dict(found.kinds), found.options(SlurmEngine, "h100")) == ({}, SlurmEngine.Options())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[kinds.h100]\nmachines = 0", "line 2, [kinds.h100]: machines: expected a whole number of machines from 1"),
        ('[kinds.h100]\n\nthreads = "8"', "line 3, [kinds.h100]: threads: expected a whole number, got '8'"),
        ("[kinds.h100]\ndevise = 'cpu'", "line 2, [kinds.h100]: unknown name 'devise'; did you mean device?"),
        ("[kinds.box]\nmachines = 2", 'line 1, [kinds.box]: nothing says which device that is; write device = "cpu"'),
        ("[kinds.h100]\nmemory = '64 apples'", "line 2, [kinds.h100]: memory: "),
        ("[kinds.h100.slurm]\ngers = 'x'", "line 2, [kinds.h100.slurm]: unknown name 'gers'; did you mean gres?"),
        ("# ours\n[slurm]\nmax_hours = 'long'", "line 3, [slurm]: max_hours: expected a number, got 'long'"),
        ("[slrm]\n", "line 1: unknown name 'slrm'; did you mean slurm?"),
        ("kinds = 3", "line 1: kinds: expected a table, [kinds]"),
        ("[kinds.h100\n", "is not TOML: Expected ']' at the end of a table declaration (at line 1, column 12)"),
        ('[kinds."old box"]\ndevice = "cpu"', "line 1, [kinds.old box]: 'old box=cpu': expected a name of letters"),
    ],
)
def test_a_mistake_is_said_with_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    (found,) = mistakes(tmp_path, text)
    assert found.replace("site.toml, ", "", 1).removeprefix("site.toml ").startswith(said)
    assert found.startswith("site.toml")


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    assert len(mistakes(tmp_path, "[slurm]\ngers = 1\n[kinds.h100]\nmachines = -1\nthreads = -1\n")) == 3


def test_a_profile_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*none\.toml: No such file"):
        site.read(tmp_path / "none.toml")
