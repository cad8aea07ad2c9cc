"""A small package with a mechanism that works, for whoever starts one: ``attnbench new NAME``. Imports no torch."""

from __future__ import annotations

import importlib.util
import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template

from attnbench.errors import UsageError
from attnbench.plugins.registry import discover

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")

_IMPORTED = ("Any", "Macs", "Map", "Mechanism", "Site")
"""What the template of the layer imports."""


def create(name: str, folder: Path | None = None) -> list[Path]:
    """Write the package: layer, closed form, tests, pyproject.toml with the entry point, workflow, .gitignore, README.

    Args:
        name: of the mechanism, such as ``mine`` or ``ring-attention``.
        folder: where to write it, which must not be there or be empty; ``./NAME`` if None.

    Returns:
        The files, in the order in which they are to be read.

    Raises:
        UsageError: the name cannot be used, or the folder is in use.
    """
    mistake = _mistake(name)
    if mistake:
        raise UsageError(mistake)
    folder = folder or Path(name)
    package = name.replace("-", "_")
    fields = {
        "name": name,
        "package": package,
        "distribution": f"attnbench-{name.replace('_', '-')}",
        "class_name": _class_name(package),
    }
    targets = {
        "README.md": "README.md",
        "attention.py": f"{package}/attention.py",
        "__init__.py": f"{package}/__init__.py",
        "test.py": f"tests/test_{package}.py",
        "pyproject.toml": "pyproject.toml",
        "gitignore": ".gitignore",
        "workflow.yml": ".github/workflows/speed.yml",
    }
    try:
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty; give another folder, or another name")
        return [_write(template, folder / target, fields) for template, target in targets.items()]
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}; give another folder") from None


def _mistake(name: str) -> str:
    if not _NAME.fullmatch(name):
        return f"{name!r} cannot name a package; write lower-case letters and digits, such as ring-attention"
    claimed = discover().plugins.get(name)
    if claimed:
        return f"there is a mechanism {name!r}, from {claimed.distribution}; take another name"
    taken = _taken(name.replace("-", "_"))
    return f"{name!r} cannot name a package: {taken}; take another name, such as ring-attention" if taken else ""


def _taken(package: str) -> str:
    """Say what a name means to Python already, empty if nothing."""
    if keyword.iskeyword(package):
        return "it is a word of Python's own"
    class_name = _class_name(package)
    if keyword.iskeyword(class_name) or class_name in _IMPORTED:
        return f"its class would be {class_name}, which means something else already"
    if package == "tests":
        return "the folder of its tests is called so"
    # Looked up without importing it. What has no origin is a folder that happens to lie here.
    found = importlib.util.find_spec(package)
    return "there is a package or module of that name already" if found and found.origin else ""


def _class_name(package: str) -> str:
    return "".join(part.capitalize() for part in package.split("_"))


def _write(template: str, path: Path, fields: dict[str, str]) -> Path:
    text = (files("attnbench.plugins") / "templates" / f"{template}.tmpl").read_text(encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Template(text).substitute(fields), encoding="utf-8")
    return path
