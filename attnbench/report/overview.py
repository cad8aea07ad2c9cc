"""A large run in a table for each set of conditions: mechanisms down, resolutions across, a figure in each place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from attnbench.metrics import COLUMNS, METRICS
from attnbench.record import Status
from attnbench.report.comparison import comparisons, resolution
from attnbench.report.findings import Findings
from attnbench.report.page.blocks import Align, Block, Column, Heading, Line, Page, Paragraph, Piece, Table, Tone

MOST_LINES = 60
"""Lines of tables that a screen shows one after the other; of more, the figures of all are shown in one."""
_MOST_ROWS, _OF_HEADINGS = 90, 4
"""Lines that such tables have together, and those of one that are none of a mechanism."""
_BEST = "*"
_BRIEF = {
    Status.UNSUPPORTED: "n/a",
    Status.OUT_OF_MEMORY: "oom",
    Status.TIMEOUT: "time",
    Status.CRASHED: "crash",
    Status.FAILED: "fail",
    Status.REJECTED: "reject",
    Status.OVER_BUDGET: "over",
    Status.ABSENT: "absent",
}
"""How a cell that did not end ok is told in few characters."""

_Sheets = dict[str, dict[str, Line]]
"""By resolution, the lines of its table by their name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    conditions: tuple[str, ...]
    sheets: _Sheets

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for lines in self.sheets.values() for name in lines))


def overview(findings: Findings) -> Page | None:
    """Return the figures of all resolutions in one table, None where the tables themselves are short enough to read.

    Args:
        findings: what is shown.
    """
    sheets = findings.book.sheets
    if sum(len(sheet.lines) + 5 for sheet in sheets) <= MOST_LINES:
        return None
    settings = _settings(findings)
    metric, shown = _metric(findings), list(_fitting(settings))
    if not metric or not shown:
        return None
    blocks: list[Block] = []
    for setting in shown:
        blocks += [Heading(text=", ".join(setting.conditions), level=3)] if setting.conditions else []
        blocks.append(_table(setting, metric, findings))
    rows = sum(len(lines) for setting in shown for lines in setting.sheets.values())
    said = f"Shown: {rows:,} of {len(findings.rows):,} rows. {_legend(shown, metric, findings)}"
    return (*blocks, Paragraph(Piece(said, Tone.FAINT)))


def _fitting(settings: Sequence[_Setting]) -> Iterator[_Setting]:
    """Yield the first sets of conditions with more than one resolution, as many as there is room for."""
    room = _MOST_ROWS
    for setting in settings:
        room -= _OF_HEADINGS + len(setting.names)
        if room < 0:
            return
        if len(setting.sheets) > 1:
            yield setting


def _settings(findings: Findings) -> list[_Setting]:
    found: dict[tuple[str, ...], _Sheets] = {}
    for part, sheet in zip(comparisons(findings.rows), findings.book.sheets, strict=True):
        lines = {line.name: line for line in sheet.lines}
        found.setdefault(part.conditions, {})[resolution(part.height, part.width)] = lines
    return [_Setting(conditions=conditions, sheets=sheets) for conditions, sheets in found.items()]


def _metric(findings: Findings) -> str:
    """Return what is shown: the ratio of latencies, else the latency, else the first figure that there is."""
    measures = findings.book.sheets[0].measures
    ratios = [metric for metric in COLUMNS if METRICS[metric].ratio_of]
    latencies = [METRICS[metric].ratio_of for metric in ratios]
    return next((metric for metric in (*ratios, *latencies, "macs", *measures) if metric in measures), "")


def _table(setting: _Setting, metric: str, findings: Findings) -> Table:
    sizes = setting.sheets.values()
    return Table(
        columns=(
            Column(heading="mechanism"),
            *(Column(heading=size, align=Align.RIGHT, unbroken=True) for size in setting.sheets),
        ),
        rows=tuple(
            (_named(name, metric, findings), *(_figure(lines.get(name), metric, findings) for lines in sizes))
            for name in setting.names
        ),
    )


def _figure(line: Line | None, metric: str, findings: Findings) -> str | Piece:
    if line is None:
        return ""
    if line.failure:
        return Piece(_BRIEF.get(Status(line.status), line.status) if line.status in set(Status) else "fail", Tone.BAD)
    shown = METRICS[metric].ratio_of if line.name in findings.baselines else ""
    entry = line.entries.get(shown or metric)
    if entry is None:
        return "-"
    return Piece(f"{entry.value}{_BEST}", Tone.GOOD) if entry.best else f"{entry.value} "


def _named(name: str, metric: str, findings: Findings) -> str:
    """Return a name, that of the baseline with the unit of its latencies, which stand where others have ratios."""
    of = METRICS[metric].ratio_of
    return f"{name} ({findings.book.sheets[0].measures[of].unit})" if of and name in findings.baselines else name


def _legend(settings: Sequence[_Setting], metric: str, findings: Findings) -> str:
    measure = findings.book.sheets[0].measures[metric]
    of = METRICS[metric].ratio_of
    what = f"{METRICS[metric].label.partition(' (')[0]}" + (f", in {measure.unit}" if measure.unit else "")
    said = [f"{what[:1].upper()}{what[1:]}{'; of the baseline, the latency itself' if of else ''}."]
    said.append(f"{_BEST} best at that resolution, or its 95 % interval overlaps the best.")
    failed = {line.status for each in settings for lines in each.sheets.values() for line in lines.values()}
    brief: Mapping[str, str] = {status: word for status, word in _BRIEF.items() if status in failed and word != status}
    said += [f"{', '.join(f'{word}: {status}' for status, word in brief.items())}."] if brief else []
    return " ".join([*said, "Intervals, memory, MACs and reasons: report.md and report.html."])
