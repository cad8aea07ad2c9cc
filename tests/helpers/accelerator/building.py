"""Compiles the accelerator that is not there, once for a machine and a version of torch, and installs it for processes.

It leans on what torch keeps to itself, so that it is held to the versions that it is known to compile with.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
KNOWN = ((2, 11), (2, 15))
"""The first and the last version of torch, major and minor, that it is known to compile with."""
_BUILD_S = 280
_COMPILE = """
import sys
from torch.utils import cpp_extension
cpp_extension.load("fake", [sys.argv[1]], build_directory=sys.argv[2], extra_cflags=["-O0"], is_python_module=False)
"""


def why_not() -> str:
    """Return why it cannot be compiled here, empty if it can."""
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    if not KNOWN[0] <= (major, minor) <= KNOWN[1]:
        return f"the accelerator in C++ is not known to compile with torch {torch.__version__}"
    missing = [name for name in (os.environ.get("CXX", "c++"), "ninja") if shutil.which(name) is None]
    return f"the accelerator in C++ needs {' and '.join(missing)}" if missing else ""


@cache
def library() -> Path:
    """Return the compiled accelerator; whoever asks while another compiles it waits for that. Skips where it cannot be.

    Raises:
        AssertionError: it does not compile.
    """
    if reason := why_not():
        pytest.skip(reason)
    source = HERE / "fake.cpp"
    made_of = hashlib.sha256(f"{torch.__version__} {torch.__config__.show()} {source.read_text()}".encode())
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attnbench-tests"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    built = folder / f"fake-{made_of.hexdigest()[:16]}.so"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back by the kernel, should whoever holds it be ended
        if not built.exists():
            _build(source, built)
    return built


def _build(source: Path, built: Path) -> None:
    """Compile into a folder of its own: what another build has left there would be waited for, or taken for whole."""
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        command = [sys.executable, "-c", _COMPILE, str(source), folder]
        variables = os.environ | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0", "MAX_JOBS": "1"}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=_BUILD_S, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        Path(folder, "fake.so").replace(built)


def put(folder: Path) -> dict[str, str]:
    """Install it into a folder, and return the variables of processes that are to find it. Skips where it cannot be.

    Args:
        folder: is added to the path of those processes.
    """
    compiled = library()
    metadata = folder / "fake_accelerator-1.0.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-accelerator\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[torch.backends]\nfake = fake_accelerator:autoload\n")
    path = [str(folder), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path), "FAKE_ACCELERATOR": str(compiled)}
