"""Links within the repository lead to files and headings that are there, as GitHub shows its pages."""

import re
from pathlib import Path

import pytest
from commands_in_docs import PAGES, ROOT

_FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
ALL = [
    *PAGES,
    ROOT / "CHANGELOG.md",
    ROOT / "results" / "README.md",
    ROOT / "results" / "claims.md",
    ROOT / "results" / "accuracy.md",
    ROOT / "results" / "accuracy-same-different.md",
]


def prose(page: Path) -> str:
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    broken = []
    for target in _LINK.findall(prose(page)):
        name, _, anchor = target.partition("#")
        there = (page.parent / name) if name else page
        if ":" in name:
            continue
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


def test_every_page_is_in_the_sites_navigation() -> None:
    listed = (ROOT / "docs" / "site" / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if f": {page}\n" not in listed] == []
