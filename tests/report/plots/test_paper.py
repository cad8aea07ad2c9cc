"""Figures for a paper."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from hostile_records import HOSTILE
from records_for_reports import default_run, row

from attnbench import inert
from attnbench.cli.main import attnbench
from attnbench.errors import UsageError
from attnbench.report.comparison import prepared
from attnbench.report.plots import paper

KEPT = next((Path(__file__).parents[3] / "results" / "reference").glob("hmhsa+qna-224+512-*"))


def texts(file: Path) -> str:
    return file.with_suffix(".svg").read_text(encoding="utf-8")


def drawn(frame: pd.DataFrame, folder: Path, **wanted: object) -> list[Path]:
    rows = prepared(frame)
    return paper.draw(rows, paper.read({"name": "latency", **wanted}, rows), folder)


def test_the_width_is_that_of_the_column_and_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    first = drawn(default_run(), tmp_path / "a", width="8cm")
    again = drawn(default_run(), tmp_path / "b", width="8cm")
    assert {file.suffix for file in first} >= {".pdf", ".svg"}
    assert f'width="{8 / 2.54 * 72:.6f}'[:10] in texts(first[0])
    assert [file.read_bytes() for file in first if file.suffix != ".pgf"] == [
        file.read_bytes() for file in again if file.suffix != ".pgf"
    ]


def test_only_what_is_asked_for_is_drawn_in_that_order_and_by_the_papers_names(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = prepared(default_run())
    wanted = paper.read({"name": "memory", "only": ("qna", "hmhsa"), "labels": ("hmhsa=H-MHSA",)}, rows)
    legends = []
    monkeypatch.setattr(paper, "_save", lambda figure, *_: legends.append(figure.axes[0].get_legend()) or [])
    paper.draw(rows, wanted, Path())
    assert [[text.get_text() for text in legend.get_texts()] for legend in legends] == [["qna", "H-MHSA"]]


def test_each_set_of_conditions_has_a_figure_named_by_it(tmp_path: Path) -> None:
    frame = pd.concat([default_run().assign(batch=batch) for batch in (1, 8)])
    names = {file.stem for file in drawn(frame, tmp_path)}
    assert names == {"latency-batch-1", "latency-batch-8"}


def test_nothing_is_drawn_of_one_resolution(tmp_path: Path) -> None:
    assert drawn(pd.DataFrame([row()]), tmp_path) == []


def test_what_cannot_be_is_said_all_at_once() -> None:
    wanted = {"name": "latncy", "style": "poster", "width": "3", "only": ("hmsa",), "labels": ("x=y",)}
    with pytest.raises(UsageError) as error:
        paper.read(wanted, prepared(default_run()))
    said = [mistake.partition(":")[0] for mistake in error.value.mistakes]
    assert said == ["--figure latncy", "--style poster", "--only hmsa", "--label x=y", "--width 3"]


def test_the_command_names_its_files_and_makes_no_report(tmp_path: Path) -> None:
    found = CliRunner().invoke(attnbench, ["report", str(KEPT), "--figure", "latency", "--out", str(tmp_path)])
    assert found.exit_code == 0
    assert f"{tmp_path}/figures/latency.pdf" in found.output.replace("\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]
    idle = CliRunner().invoke(attnbench, ["report", str(KEPT), "--only", "qna"])
    assert str(idle.exception) == "--only does nothing without --figure"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX, which is not installed")
def test_latex_sets_it_whatever_the_names_are(tmp_path: Path) -> None:
    names = [inert.line(name) for name in (*HOSTILE, r"\input{/etc/passwd}", "a_b^c~d%e", "#$&{}")]
    rows = [row("swin", size, label=name) for size in (224, 512) for name in names]
    (file, *_) = [file for file in drawn(pd.DataFrame(rows), tmp_path) if file.suffix == ".pgf"]
    text = rf"\documentclass{{article}}\usepackage{{pgf}}\begin{{document}}\input{{{file.name}}}\end{{document}}"
    (tmp_path / "paper.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
