"""What MkDocs asks while it builds the site: pages made of the code and of results/, and links that lead out of docs/.

A page says where a made part goes by a comment, ``<!-- made: columns -->``, which GitHub does not show.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from made_columns import columns
from made_gallery import gallery, pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from moved_links import Places

ROOT = Path(__file__).parents[2]
_SHOWN = {"about/contributing.md": "CONTRIBUTING.md", "about/changelog.md": "CHANGELOG.md"}
"""Files at the top that are pages here as well."""
_MADE: Mapping[str, Callable[[Path], str]] = {"columns": lambda _: columns(), "gallery": gallery}
_PLACE = re.compile(r"<!-- made: (\w+) -->")
_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\ssrc=["']?(?:https?:)?//|<link\b[^>]*\srel=["']?(?:stylesheet|preload|"""
    r"""preconnect|icon|modulepreload)[^>]*\shref=["']?(?:https?:)?//|@import\s+(?:url\()?["']?(?:https?:)?//"""
)
"""What a browser would ask another machine for; a link that a reader may follow is none."""

_places = Places(ROOT)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what lies outside docs/: pages at the top, and a page for each run that is kept, with its files."""
    for name, source in _SHOWN.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
        _places.add(ROOT / source, name)
    _places.stands_for(ROOT / "README.md", "index.md")
    for name, made in pages(ROOT / "results").items():
        files.append(File.generated(config, name, content=made.content))
        _places.add(made.source, name)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Put in what is made, and turn links that lead out of docs/ to where their files are on the site."""
    name = page.file.src_uri
    source = _places.source_of(name) or Path(config.docs_dir) / name
    return _PLACE.sub(lambda found: _MADE[found[1]](ROOT), _places.turned(markdown, source=source, name=name))


def on_post_build(*, config: MkDocsConfig) -> None:
    """Refuse a site that asks another machine for anything.

    Raises:
        PluginError: a page does.
    """
    site = Path(config.site_dir)
    asking = [
        f"{path.relative_to(site)}: {found[0]}"
        for path in sorted(site.rglob("*"))
        if path.suffix in {".html", ".css"} and path.name != "report.html"
        for found in _FETCHED.finditer(path.read_text(encoding="utf-8"))
    ]
    if asking:
        raise PluginError("\n".join(["pages that ask another machine for something:", *asking]))
