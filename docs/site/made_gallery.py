"""A page for each run that is kept in results/, with its plots and report.html, made by attnbench itself."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from attnbench import load
from attnbench.report.conclusion import conclusion
from attnbench.report.findings import Findings
from attnbench.report.page.markdown import markdown

_KINDS = {".csv", ".html", ".png"}
"""Files of a report that its page shows or links to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadePage:
    """A file of the site that lies elsewhere in the repository, or nowhere."""

    source: Path
    """What stands for it in the repository, so that links to that lead here."""
    content: str | bytes


def kept(results: Path) -> list[Path]:
    """Return the folders of the runs that are kept, those of claims left out, which have a page of their own."""
    found = sorted(path.parent for path in results.glob("reference/*/records.jsonl"))
    return [folder for folder in found if not folder.name.startswith("claims-")]


def pages(results: Path) -> Mapping[str, MadePage]:
    """Return the files of the gallery by their names on the site: pages, pictures, tables, report.html."""
    made = dict[str, MadePage]()
    for name in ("claims.md", "accuracy.md", "accuracy-same-different.md"):
        page = results / name
        made[f"gallery/{name}"] = MadePage(source=page, content=page.read_text(encoding="utf-8"))
    for root, pictures in ((results / "reference", "claims-*/plots/*.png"), (results, "tasks/plots/*.png")):
        for path in sorted(root.glob(pictures)):
            made[f"gallery/{path.relative_to(root).as_posix()}"] = MadePage(source=path, content=path.read_bytes())
    for folder in kept(results):
        made |= _reported(folder)
    return made


def _reported(folder: Path) -> Mapping[str, MadePage]:
    """Return what attnbench makes of a run: the files of its report."""
    made = {}
    with tempfile.TemporaryDirectory() as place:
        page = load(folder).report(place)
        for path in sorted(page.parent.rglob("*")):
            if path.suffix in _KINDS:
                inside = path.relative_to(page.parent)
                name = f"gallery/{folder.name}/{inside.as_posix()}"
                made[name] = MadePage(source=folder / inside, content=path.read_bytes())
        _, _, rest = page.read_text(encoding="utf-8").partition("\n")
    made[f"gallery/{folder.name}/index.md"] = MadePage(
        source=folder / "report.md", content=f"# {folder.name}\n\n{_lead(folder)}\n{rest}"
    )
    return made


def _lead(folder: Path) -> str:
    return (
        f"{_sentence(folder)}\n\n[Interactive report](report.html) · [records.csv](records.csv) · "
        f"[crossovers.csv](crossovers.csv). Made of `results/reference/{folder.name}` by `attnbench report`.\n"
    )


def _sentence(folder: Path) -> str:
    """Return who leads in a run, in the words of the screen."""
    return markdown(tuple(conclusion(Findings.of(load(folder).records).rows)), folder).strip()


def gallery(root: Path) -> str:
    """Return the list of the runs that are kept: what came out, and a picture, as Markdown."""
    made = []
    for folder in kept(root / "results"):
        page = f"{folder.name}/index.md"
        made += [f"## [{folder.name}]({page})", "", _sentence(folder), ""]
        if (folder / "plots" / "latency.png").exists():
            made += [f"[![Latency against resolution]({folder.name}/plots/latency.png)]({page})", ""]
        made += [f"[Table and plots]({page}) · [interactive report]({folder.name}/report.html)", ""]
    return "\n".join(made)
