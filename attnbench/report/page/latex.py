r"""A book as LaTeX: a table for each sheet, as papers print them, with booktabs and siunitx.

The best of a column is bold, the best of the others is underlined, which an S column of siunitx cannot do: numbers are
flush right, followed by the room of the digits that others have more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attnbench import inert
from attnbench.report.page.blocks import Book, Entry, Line, Measure, Sheet

_PREAMBLE = r"""% Tables of attnbench. In the preamble: \usepackage{booktabs,siunitx,textcomp}
% Bold: best of its table, or its 95 % interval overlaps the best's. Underlined: the best of the others.
\sisetup{detect-weight=true,group-minimum-digits=5}
"""
_NOT_MEASURED = "--"


def latex(book: Book, *, intervals: bool = True) -> str:
    """Return the sheets of a book as the text of a LaTeX file, which a paper inputs.

    Args:
        book: what is set.
        intervals: whether 95 % intervals stand beside the values.
    """
    return "\n".join([_PREAMBLE, *(part for sheet in book.sheets for part in _sheet(sheet, intervals=intervals))])


def _sheet(sheet: Sheet, *, intervals: bool) -> Iterator[str]:
    columns = [metric for metric in sheet.measures if any(metric in line.entries for line in sheet.lines)]
    beside = {metric: intervals and _has_intervals(sheet, metric) for metric in columns}
    kinds = "".join("r" + "@{\\,}l" * beside[metric] for metric in columns)
    decimals = {metric: _most_decimals(sheet, metric) for metric in columns}
    yield f"% {inert.line(sheet.title)}"
    yield f"\\begin{{tabular}}{{l{kinds}}}"
    yield "\\toprule"
    yield " & ".join(["", *(_over(_heading(sheet.measures[metric]), beside[metric]) for metric in columns)]) + r" \\"
    yield " & ".join(["", *(_over(_unit(sheet.measures[metric]), beside[metric]) for metric in columns)]) + r" \\"
    yield "\\midrule"
    for line in sheet.lines:
        yield " & ".join([inert.latex(line.name), *_cells(line, beside, decimals)]) + r" \\"
    yield "\\bottomrule"
    yield "\\end{tabular}"
    yield ""


def _has_intervals(sheet: Sheet, metric: str) -> bool:
    return any(line.entries[metric].interval for line in sheet.lines if metric in line.entries)


def _most_decimals(sheet: Sheet, metric: str) -> int:
    return max(_decimals(line.entries[metric]) for line in sheet.lines if metric in line.entries)


def _decimals(entry: Entry) -> int:
    return len(entry.value.partition(".")[2])


def _over(heading: str, spans_two: bool) -> str:
    return f"\\multicolumn{{{1 + spans_two}}}{{c}}{{{heading}}}"


def _heading(measure: Measure) -> str:
    return inert.latex(measure.heading)


def _unit(measure: Measure) -> str:
    return f"({inert.latex(measure.unit)})" if measure.unit else inert.latex(measure.against)


def _cells(line: Line, beside: Mapping[str, bool], decimals: Mapping[str, int]) -> Iterator[str]:
    status = inert.latex(line.status) if line.failure else _NOT_MEASURED
    for metric, most in decimals.items():
        entry = line.entries.get(metric)
        if entry is None:
            yield status
            status = _NOT_MEASURED
        else:
            yield _number(entry, most)
        if beside[metric]:
            yield f"\\footnotesize {inert.latex(entry.interval)}" if entry and entry.interval else ""


def _number(entry: Entry, most: int) -> str:
    """Return a value, marked, and the room of the decimals that others of its column have more."""
    number = f"\\num{{{entry.value}}}"
    own = _decimals(entry)
    point = "." if most and not own else ""
    room = f"\\phantom{{{point}{'0' * (most - own)}}}" if most > own else ""
    if entry.best:
        return f"{{\\bfseries {number}}}{room}"
    return f"\\underline{{{number}}}{room}" if entry.second else f"{number}{room}"
