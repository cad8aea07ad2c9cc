"""A self-check on one page: what the harness found of known ratios, what other ways found, and what was demanded."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from attnbench.report.page.blocks import Align, Column, Page, Paragraph, Piece, Table, Tone
from attnbench.selfcheck.trials import TRUTHS, Bar, Result, Trial, Way

_WHY = (
    "Every way timed the same calls at the same moment and for the same time or longer. What slows the machine down "
    "falls on both calls of a round alike; timed in blocks, it falls on one of them."
)


def page(result: Result) -> Page:
    """Return a self-check: under which conditions, the errors of each way, and whether they are small enough."""
    return (
        Paragraph(Piece(_conditions(result), Tone.STRONG)),
        _errors(result),
        Paragraph(Piece(_WHY, Tone.FAINT)),
        _bars(result.bars),
        *(Paragraph(f"Meanwhile {said}.") for said in result.disturbances),
    )


def _conditions(result: Result) -> str:
    beside = ", beside a process that keeps a core busy" if result.loaded else ""
    threads = f"{result.threads} thread" + "s" * (result.threads != 1)
    return f"{result.description}, on {result.device}, {threads}, {result.cache} caches{beside}"


def _errors(result: Result) -> Table:
    figures = ("median error", "worst", f"within {result.tolerance:.0%}")
    return Table(
        columns=(
            Column(heading="true ratio", align=Align.RIGHT),
            Column(heading="timed by"),
            *(Column(heading=heading, align=Align.RIGHT, unbroken=True) for heading in figures),
        ),
        rows=tuple(_row(result, truth, way) for truth in TRUTHS for way in Way),
    )


def _row(result: Result, truth: int, way: Way) -> tuple[Piece, ...]:
    tone = Tone.STRONG if way is Way.INTERLEAVED else Tone.PLAIN
    cells = (str(truth), way.value, *_error_cells(result.of(truth), way, result.tolerance))
    return tuple(Piece(cell, tone) for cell in cells)


def _error_cells(trials: Sequence[Trial], way: Way, tolerance: float) -> tuple[str, str, str]:
    errors = [trial.error(way) for trial in trials]
    within = sum(error <= tolerance for error in errors)
    return f"{median(errors):.2%}", f"{max(errors):.2%}", f"{within} of {len(errors)}"


def _bars(bars: Sequence[Bar]) -> Table:
    return Table(
        columns=(Column(heading=""),) * 3,
        rows=tuple(
            (Piece("PASSED", Tone.GOOD) if bar.passed else Piece("FAILED", Tone.BAD), bar.demand, bar.found)
            for bar in bars
        ),
    )
