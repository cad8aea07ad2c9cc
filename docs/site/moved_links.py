"""Links as they lie in the repository, turned to where their files are on the site."""

from __future__ import annotations

import os
import re
from pathlib import Path

_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")


class Places:
    """Which file of the repository is which on the site, where that does not follow from docs/.

    Args:
        root: of the repository.
    """

    def __init__(self, root: Path) -> None:
        self._docs = root / "docs"
        self._names: dict[Path, str] = {}
        self._sources: dict[str, Path] = {}

    def stands_for(self, source: Path, name: str) -> None:
        """Let links to a file of the repository lead to a page of the site."""
        self._names[source] = name

    def add(self, source: Path, name: str) -> None:
        """Know a file of the repository by its name on the site, of which it is the content."""
        self.stands_for(source, name)
        self._sources[name] = source

    def source_of(self, name: str) -> Path | None:
        """Return the file that a name on the site stands for; None where that follows from docs/."""
        return self._sources.get(name)

    def turned(self, markdown: str, *, source: Path, name: str) -> str:
        """Return a page with its links turned; one to what is not on the site stays, and MkDocs refuses it.

        Args:
            markdown: the page.
            source: its file in the repository.
            name: what it is on the site.
        """

        def turn(found: re.Match[str]) -> str:
            target = Path(os.path.normpath(source.parent / found[2]))
            there = self._names.get(target) or self._within_docs(target, source)
            if ":" in found[2] or there is None:
                return found[0]
            return f"{found[1]}{os.path.relpath(there, Path(name).parent)}{found[3] or ''}{found[4]}"

        return _LINK.sub(turn, markdown)

    def _within_docs(self, target: Path, source: Path) -> str | None:
        """Return the name of a page of docs/ that a page from outside links to."""
        from_outside = not source.is_relative_to(self._docs)
        return target.relative_to(self._docs).as_posix() if from_outside and target.is_relative_to(self._docs) else None
