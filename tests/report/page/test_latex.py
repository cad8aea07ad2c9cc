"""Tables for a paper: what is set, and that LaTeX sets it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from hostile_records import HOSTILE
from records_for_reports import default_run, row

from attnbench import inert
from attnbench.report.comparison import prepared
from attnbench.report.findings import Findings
from attnbench.report.page.latex import latex

PAPER = r"\documentclass{article}\usepackage{booktabs,siunitx,textcomp}\begin{document}\input{tables}\end{document}"


def text_of(frame: pd.DataFrame, **asked: bool) -> str:
    return latex(Findings(rows=prepared(frame)).book, **asked)


def lines_of(text: str) -> list[list[str]]:
    return [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if " & " in line]


def test_the_best_is_bold_the_best_of_the_others_underlined_and_the_rest_neither() -> None:
    found = {cells[0]: cells for cells in lines_of(text_of(default_run().query("res_height == 224")))}
    place = found[""].index(r"\multicolumn{1}{c}{(img/s)}")
    assert found["qna"][4] == r"{\bfseries \num{12.5}}"
    assert found["hmhsa"][4] == r"\underline{\num{14.9}}"
    assert found["mhsa"][4] == r"\num{16.0}"
    assert found["qna"][5] == r"\footnotesize {[}12.3, 12.7{]}"
    assert place


def test_every_line_has_as_many_cells_and_its_columns_are_declared() -> None:
    for intervals in (True, False):
        for table in text_of(default_run(), intervals=intervals).split(r"\begin{tabular}")[1:]:
            columns = re.match(r"\{([lr@{}\\,]+)\}", table)
            assert columns
            wide = len(re.findall("[lr]", columns[1]))
            assert {len(cells) for cells in lines_of(table)[2:]} == {wide}
            spans = [
                sum(map(int, re.findall(r"multicolumn\{(\d)\}", " ".join(cells)))) for cells in lines_of(table)[:2]
            ]
            assert spans == [wide - 1, wide - 1]


def test_numbers_stand_on_their_points() -> None:
    counts = [row("mhsa", macs=144_000_000_000), row("qna", macs=19_400_000_000)]
    found = {cells[0]: cells for cells in lines_of(text_of(pd.DataFrame(counts)))}
    assert found["mhsa"][2] == r"\num{144}\phantom{.0}"
    assert found["qna"][2] == r"{\bfseries \num{19.4}}"


def test_a_cell_that_did_not_run_says_so_in_the_first_empty_place() -> None:
    found = [cells for cells in lines_of(text_of(default_run())) if cells[0] == "lavit"][-1]
    assert "out{-}of{-}memory" in found
    assert found.count("--") >= 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX, which is not installed")
def test_latex_sets_it_whatever_the_names_are(tmp_path: Path) -> None:
    names = [*HOSTILE, r"\input{/etc/passwd}", "a_b^c~d%e", "#$&{}"]
    rows = [*default_run().to_dict("records"), *(row("swin", label=inert.line(name)) for name in names)]
    (tmp_path / "tables.tex").write_text(text_of(pd.DataFrame(rows)), encoding="utf-8")
    (tmp_path / "paper.tex").write_text(PAPER, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("name", [*HOSTILE, r"\input{x}", "%", "a&b", "{", "}"])
def test_names_of_strangers_command_nothing(name: str) -> None:
    escaped = inert.latex(name)
    left = re.sub(
        r"\\(?:text\w+\{\}|[#$%&_{}])",
        "",
        escaped.replace("{-}", "").replace("{[}", "").replace("{]}", "").replace("{''}", ""),
    )
    assert not re.search(r"[\\#$%&_{}~^]", left)
