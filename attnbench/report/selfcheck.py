"""A self-check on one page: what the harness found of known ratios, what other ways found, and what was demanded."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from attnbench.selfcheck.trials import TRUTHS, Bar, Result, Trial, Way

_WHY = (
    "Every way timed the same calls at the same moment and for the same time or longer. What slows the machine down "
    "falls on both calls of a round alike; timed in blocks, it falls on one of them."
)


def table(result: Result) -> RenderableType:
    """Return a self-check for ``Console.print``."""
    return Group(
        Text(_conditions(result), style="bold"),
        Text(),
        _errors(result),
        Text(),
        Text(_WHY, style="dim"),
        Text(),
        _bars(result.bars),
        *(Text(f"Meanwhile {said}.") for said in result.disturbances),
    )


def _conditions(result: Result) -> str:
    beside = ", beside a process that keeps one core busy" if result.loaded else ""
    threads = f"{result.threads} thread" + "s" * (result.threads != 1)
    return f"{result.description}, on {result.device} with {threads}{beside}"


def _errors(result: Result) -> Table:
    found = Table(box=None, pad_edge=False, header_style="dim")
    found.add_column("true ratio", justify="right")
    found.add_column("timed by")
    for heading in ("median error", "worst", f"within {result.tolerance:.0%}"):
        found.add_column(heading, justify="right", no_wrap=True)
    for truth in TRUTHS:
        for way in Way:
            style = "bold" if way is Way.INTERLEAVED else ""
            found.add_row(str(truth), way.value, *_error_cells(result.of(truth), way, result.tolerance), style=style)
    return found


def _error_cells(trials: Sequence[Trial], way: Way, tolerance: float) -> tuple[str, str, str]:
    errors = [trial.error(way) for trial in trials]
    within = sum(error <= tolerance for error in errors)
    return f"{median(errors):.2%}", f"{max(errors):.2%}", f"{within} of {len(errors)}"


def _bars(bars: Sequence[Bar]) -> Table:
    verdicts = Table.grid(padding=(0, 2))
    for bar in bars:
        said = Text("PASSED", style="green") if bar.passed else Text("FAILED", style="bold red")
        verdicts.add_row(said, Text(bar.demand), Text(bar.found))
    return verdicts
