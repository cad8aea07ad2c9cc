"""A report of the conformance kit for the screen."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from attnbench.conformance.finding import CheckOutcome, Report

_STYLES = {
    CheckOutcome.PASSED: "green",
    CheckOutcome.FAILED: "bold red",
    CheckOutcome.NOT_CLAIMED: "dim",
    CheckOutcome.NOT_RUN: "dim",
}


def findings_table(report: Report) -> Table:
    """Return a row for each check. What a failure needs beside it is in ``str(report)``, lines to copy included."""
    table = Table(title=f"{report.name} from {report.distribution}", title_justify="left", box=None, pad_edge=False)
    for heading in ("check", "", "found"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "check")
    for each in report.findings:
        table.add_row(Text(each.check), Text(each.outcome, style=_STYLES[each.outcome]), Text(each.found))
    return table
