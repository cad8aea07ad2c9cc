"""The commands that README, CONTRIBUTING and docs show, as they stand there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
_FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_SHELL = {"", "console", "sh"}
_INDENTED = re.compile(r"^    (?=\S)(.*)$", re.MULTILINE)
_ANY_FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(attnbench [a-z][^`]*)`")
_VARIABLES = re.compile(r"^(?:[A-Z_]+=\S* )+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A command that a page shows."""

    page: str
    words: tuple[str, ...]
    """Without ``attnbench`` itself."""

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def blocks(text: str) -> list[str]:
    """Return the fenced blocks of a page that hold commands of a shell."""
    return re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[Shown]:
    """Yield every command of attnbench on a page: of blocks, fenced or indented, and within lines."""
    text = page.read_text(encoding="utf-8")
    lines = [line for kind, block in _FENCED.findall(text) if kind in _SHELL for line in block.splitlines()]
    prose = _ANY_FENCED.sub("", text)
    lines += _INDENTED.findall(prose) + _INLINE.findall(prose.replace("\n", " "))
    for line in lines:
        for part in line.split("&&"):
            typed = _VARIABLES.sub("", part.strip().removeprefix("$ "))
            if re.match(r"attnbench [a-z]", typed):
                words = shlex.split(typed.replace("$", ""), comments=True)
                yield Shown(page=page.relative_to(ROOT).as_posix(), words=tuple(words[1:]))
