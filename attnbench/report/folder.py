"""The files of a report: tables, plots and the page, in the folder of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from attnbench import files
from attnbench.report import standings, superseded
from attnbench.report.artefacts import Artefacts
from attnbench.report.document import document
from attnbench.report.findings import Findings
from attnbench.report.html import writing as html
from attnbench.report.page.markdown import markdown
from attnbench.report.spreadsheet import write_csv
from attnbench.roofline import MachineLimits


def write(
    findings: Findings, folder: Path, limits: Mapping[str, MachineLimits], *, command: str, missing: Sequence[str]
) -> tuple[list[Path], list[str]]:
    """Write everything that a report leaves on disk; return the plots, and a line for each file that is not there.

    Args:
        findings: what is reported.
        folder: where; made if it is not there.
        limits: of the machines, by ``environment_id``.
        command: what to type to get these records again.
        missing: cells that were asked for and have no row, in words.
    """
    from attnbench.report import plots, roofline  # noqa: PLC0415 - matplotlib takes longer to import than the rest to write

    made = Artefacts()
    rows, pictures = findings.rows, folder / "plots"
    drawn: list[Path] = []
    with made.apart(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
    if made.failures:
        return [], made.failures
    with made.apart(str(folder / "records.csv")):
        write_csv(rows, folder / "records.csv")
    with made.apart(str(folder / "crossovers.csv")):
        standings.write_csv(findings.crossovers, folder / "crossovers.csv")
    for name, draw in (("plots", plots.draw), ("roofline", partial(roofline.draw, limits=limits))):
        with made.apart(f"{name} in {pictures}"):
            drawn += draw(rows, folder=pictures, apart=made.apart)
    with made.apart(str(folder / "report.md")):
        page = document(findings, command=command, missing=missing, plots=drawn)
        files.put(folder / "report.md", markdown(page, folder))
    with made.apart(str(folder / "report.html")):
        files.put(folder / "report.html", html.page(findings, limits, command=command, missing=missing))
    with made.apart(str(pictures / superseded.MADE)):
        superseded.remove(pictures, drawn=drawn)
    return drawn, made.failures
