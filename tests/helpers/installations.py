"""Environments as users have them: other packages beside attnbench, and attnbench itself from its wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
PIP = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PIP_CONFIG_FILE": os.devnull}
"""A machine's own settings of pip, constraints say, are about what is fetched, and here nothing is; what lies on a path
is not what is installed."""
OFFLINE = ("--no-index", "--disable-pip-version-check", "--quiet")
_SOURCES = ("attnbench", "mechanisms", "pyproject.toml", "README.md", "LICENSE")
_OURS = ("attnbench", "__editable__")

MODULE = '''
raise SystemExit("imported, though nobody asked for it")


class Layer{number}(Mechanism):
    """What layer {number} does."""

    paper = "Nobody, paper {number}"

    def __init__(self, site, *, window: int = {number}) -> None: ...
'''


def put_mechanisms(folder: Path, count: int) -> None:
    """Put a distribution with so many mechanisms into a folder, as installed; none of its modules can be imported."""
    metadata = folder / "plenty-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plenty\nVersion: 1.0\n")
    lines = [f"plenty_{number} = plenty.layer_{number}:Layer{number}" for number in range(count)]
    (metadata / "entry_points.txt").write_text("\n".join(["[attnbench.mechanisms]", *lines]))
    package = folder / "plenty"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported, though nobody asked for it')")
    for number in range(count):
        (package / f"layer_{number}.py").write_text(MODULE.format(number=number))


def copy_sources(folder: Path) -> Path:
    """Copy what attnbench is built from, without what earlier builds left behind."""
    for name in _SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def make_environment(folder: Path) -> Path:
    """Make an environment that has pip and what attnbench depends on, but not attnbench; return its python.

    The dependencies are this environment's own, by links: neither a network nor a copy of torch is needed.
    """
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    dependencies = folder / "dependencies"
    dependencies.mkdir()
    for library in dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))):
        for path in Path(library).iterdir():
            if not path.name.startswith(_OURS) and path.suffix != ".pth":
                (dependencies / path.name).symlink_to(path)
    # In front: an environment of Python 3.11 comes with a setuptools that is too old for pyproject.toml.
    line = f"import sys; sys.path.insert(0, {str(dependencies)!r})\n"
    (site_packages(python) / "dependencies.pth").write_text(line)
    return python


def build_wheel(python: Path, folder: Path) -> Path:
    """Build attnbench's wheel with an environment's pip and setuptools."""
    sources = folder / "sources"
    sources.mkdir()
    command = [python, "-m", "pip", "wheel", *OFFLINE, "--no-deps", "--no-build-isolation", "-w", folder]
    subprocess.run([*command, copy_sources(sources)], check=True, env=PIP)
    (wheel,) = folder.glob("attnbench-*.whl")
    return wheel


def install(python: Path, wheel: Path) -> None:
    """Install a wheel; pip finds every dependency there already, or fails."""
    subprocess.run([python, "-m", "pip", "install", *OFFLINE, str(wheel)], check=True, env=PIP)


def site_packages(python: Path) -> Path:
    """Return the folder that an environment's packages are installed in."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip())


def activated(python: Path) -> dict[str, str]:
    """Return the variables of a shell in which an environment is active."""
    ours = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    return ours | {
        "PIP_CONFIG_FILE": os.devnull,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(python.parents[1]),
    }
