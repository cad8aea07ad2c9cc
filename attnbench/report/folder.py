"""The files of a report: tables, plots and the page, in the folder of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from attnbench.errors import StoreError
from attnbench.report import standings, superseded
from attnbench.report.document import document
from attnbench.report.findings import Findings
from attnbench.report.page.markdown import markdown
from attnbench.report.spreadsheet import write_csv
from attnbench.roofline import MachineLimits


def write(
    findings: Findings, folder: Path, limits: Mapping[str, MachineLimits], *, command: str, missing: Sequence[str]
) -> list[Path]:
    """Write everything that a report leaves on disk and return the plots.

    Args:
        findings: what is reported.
        folder: where; made if it is not there.
        limits: of the machines, by ``environment_id``.
        command: what to type to get these records again.
        missing: cells that were asked for and have no row, in words.

    Raises:
        StoreError: the folder cannot be written.
    """
    from attnbench.report import plots, roofline  # noqa: PLC0415 - matplotlib takes longer to import than the rest to write

    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(findings.rows, folder / "records.csv")
        standings.write_csv(findings.crossovers, folder / "crossovers.csv")
        pictures = folder / "plots"
        drawn = [*plots.draw(findings.rows, pictures), *roofline.draw(findings.rows, limits, pictures)]
        page = document(findings, command=command, missing=missing, plots=drawn)
        (folder / "report.md").write_text(markdown(page, folder), encoding="utf-8")
        superseded.remove(pictures, drawn=drawn)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror}; give another folder with --out") from None
    return drawn
