"""A row that something speaks against is marked and leads nowhere, whatever it is shown in: one row, every medium."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from records_for_reports import row, with_accuracy

from attnbench.metrics import METRICS
from attnbench.report import folder as report_folder
from attnbench.report import plots, roofline
from attnbench.report.comparison import prepared
from attnbench.report.console import console
from attnbench.report.crossover import crossings
from attnbench.report.findings import Findings
from attnbench.report.page.screen import screen
from attnbench.report.summary import summary
from attnbench.roofline import MachineLimits

DOUBT = "a call takes 32 MiB past torch's allocator"
LIMITS = {"e1f0": MachineLimits(device="cpu", threads=2, macs_per_s={"float32": 2e12}, bytes_per_s=5e11)}
SIZES = (224, 448)


def frame(*sizes: int) -> pd.DataFrame:
    """Return rows of which the suspicious ones are ten times as good as the others in everything."""
    rows = [row(name, size, is_baseline=name == "mhsa") for size in sizes for name in ("mhsa", "swin")]
    for each in [dict(each) for each in rows if each["mechanism"] == "swin"]:
        best = {
            name: each[name] / 10 for name in each if name.startswith(("latency_", "macs", "params", "memory"))
            and isinstance(each[name], int | float)
        }  # fmt: skip
        rows.append({**each, **best, "mechanism": "cheat", "label": "cheat", "suspicious": DOUBT})
    return with_accuracy(pd.DataFrame(rows)).assign(bytes_lower_bound=10_000_000)


@pytest.fixture(scope="module")
def findings() -> Findings:
    return Findings(rows=prepared(frame(*SIZES)))


@pytest.fixture(scope="module")
def written(findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    _, failures = report_folder.write(findings, folder, LIMITS, command="attnbench run", missing=())
    assert not failures
    return folder


def test_in_the_tables_it_is_never_the_best_and_its_note_says_why(findings: Findings) -> None:
    assert f"suspicious, and not ranked: {DOUBT}" in findings.book.notes
    lines = [line for sheet in findings.book.sheets for line in sheet.lines]
    best = {line.name: any(entry.best for entry in line.entries.values()) for line in lines}
    assert best.pop("cheat") is False
    assert any(best.values())


def test_on_the_screen_it_leads_nowhere(findings: Findings) -> None:
    wide = console()
    with wide.capture() as shown:
        wide.print(screen(summary(findings)))
    text = shown.get()
    assert "cheat" in text
    assert not re.search(r"cheat (is|leads|has the lowest)|[Ll]owest latency: cheat", text)


def test_in_markdown_and_html_none_of_its_figures_is_bold(written: Path) -> None:
    lines = [line for line in (written / "report.md").read_text().splitlines() if line.startswith("| cheat")]
    assert lines
    assert not any("**" in line for line in lines)
    page = (written / "report.html").read_text()
    assert f"not ranked: {DOUBT}".replace("'", "&#39;") in page
    (script,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    data = json.loads(script)
    cheats = {place for place, label in enumerate(data["rows"]["label"]) if data["labels"][label]["name"] == "cheat"}
    for name, values in data["values"].items():
        if "suspicious" in METRICS[name].doubted_by:
            assert set(values["doubted"]) == cheats
    drawn = {layer["mark"]["shape"] for layer in data["charts"]["curve"]["layer"][0]["layer"] if "transform" in layer}
    assert drawn == {"M-1,-1L1,1M-1,1L1,-1"}
    assert {place for place, doubted in enumerate(data["roofline"]["doubted"]) if doubted} == cheats


def test_in_the_files_it_has_its_mark_and_crosses_nothing(written: Path, findings: Findings) -> None:
    records = pd.read_csv(written / "records.csv")
    assert set(records.loc[records["suspicious"].notna(), "label"]) == {"cheat"}
    for metric in ("latency_median_s", "macs", "memory_peak_bytes"):
        for found in crossings(findings.rows, "cheat", "mhsa", metric):
            assert found.certain == ()
            assert "ahead" not in found.words


def crosses(figure: Figure) -> list[tuple[float, float]]:
    found = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "x"]
    return [(float(x), float(y)) for line in found for x, y in zip(*line.get_data(), strict=True)]


def markers(figure: Figure, label: str) -> set[tuple[float, float]]:
    lines = [line for axes in figure.axes for line in axes.lines if line.get_label() == label]
    return {(float(x), float(y)) for line in lines for x, y in zip(*line.get_data(), strict=True)}


def every_plot(rows: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    yield from plots.figures(rows)
    yield from roofline.figures(rows, LIMITS)


@pytest.mark.parametrize("sizes", [SIZES, SIZES[:1]])
def test_every_plot_crosses_it_out_and_says_so(sizes: tuple[int, ...]) -> None:
    drawn = dict(every_plot(prepared(frame(*sizes))))
    assert {"latency", "macs", "memory", "roofline"} <= {name.partition("-")[0] for name in drawn}
    for name, figure in drawn.items():
        said = " ".join(" ".join(text.get_text() for text in figure.texts).split())
        assert "crossed out, not ranked: cheat" in said, name
        assert 1 <= len(crosses(figure)) <= len(sizes), name
        if own := markers(figure, "cheat"):
            assert set(crosses(figure)) == own, name


def test_a_plot_of_what_nothing_speaks_against_has_no_cross() -> None:
    for name, figure in every_plot(prepared(frame(*SIZES).query("mechanism != 'cheat'"))):
        assert crosses(figure) == [], name


def test_at_one_resolution_it_stands_after_those_that_are_ranked() -> None:
    figure = dict(plots.figures(prepared(frame(224))))["latency"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][-1] == "cheat"
