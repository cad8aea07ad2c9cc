"""The page as a parser sees it: complete without script, of one file, and nothing in it but what was meant."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import many_records
import pandas as pd
import pytest
from hostile_records import HOSTILE, of_strangers
from html_reading import Element, read
from records_for_reports import OUT_OF_MEMORY, default_run, failed, row, with_accuracy

from attnbench.report.comparison import prepared
from attnbench.report.findings import Findings
from attnbench.report.html import shipped
from attnbench.report.html.writing import page
from attnbench.runs import reporting


@pytest.fixture(scope="module")
def plain() -> Element:
    return read(page(Findings(rows=prepared(default_run())), command="attnbench run", missing=["qna at 2048"]))


@pytest.fixture(scope="module")
def hostile() -> tuple[str, Element]:
    text = page(Findings.of(of_strangers()), command="</pre><script>", missing=list(HOSTILE))
    return text, read(text)


def scripts(root: Element) -> Iterator[str]:
    for script in root.all("script"):
        if "type" not in script.attributes:
            yield "".join(script.own)


def test_the_answer_is_first_and_the_machine_last(plain: Element) -> None:
    titles = [heading.text for heading in plain.all("h2")]
    assert titles[0] == "Answer"
    assert titles[-1] == "Machine and software"


def test_every_row_is_in_the_table_without_script(plain: Element) -> None:
    rows = plain.named("rows").all("tr")[1:]
    assert len(rows) == len(default_run())
    assert {line.all("th")[0].text.split()[0] for line in rows} == set(default_run()["label"])
    assert all(len(line.children) == len(plain.named("rows").all("tr")[0].children) for line in rows)


def test_cells_that_were_not_reached_are_said(plain: Element) -> None:
    assert "1 cells that were asked for were not reached" in plain.named("answer").text


def test_the_policy_lets_in_the_scripts_and_the_style_that_are_there_and_nothing_else(plain: Element) -> None:
    (policy,) = [one.attributes["content"] for one in plain.all("meta") if "http-equiv" in one.attributes]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    def hashes(texts: list[str]) -> set[str]:
        return {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts}

    assert set(rules["script-src"].split()) == hashes([*scripts(plain)])
    assert set(rules["style-src"].split()) == hashes(["".join(style.own) for style in plain.all("style")])
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"


@pytest.mark.parametrize("which", ["plain", "hostile"])
def test_nothing_is_asked_of_anywhere(which: str, plain: Element, hostile: tuple[str, Element]) -> None:
    root = plain if which == "plain" else hostile[1]
    asked = [one.attributes.get(name) for one in root.all() for name in ("src", "href", "action", "data", "srcset")]
    assert all(each.startswith("#") for each in asked if each)
    assert {one.tag for one in root.all()}.isdisjoint({"img", "iframe", "link", "object", "embed", "base", "form"})


def test_names_of_strangers_are_text_and_add_no_element_and_no_attribute(
    plain: Element, hostile: tuple[str, Element]
) -> None:
    _, root = hostile
    assert [*scripts(root)] == [*scripts(plain)]
    known = {name for one in plain.all() for name in one.attributes}
    assert {name for one in root.all() for name in one.attributes} <= known
    assert HOSTILE[0] in root.named("rows").text
    assert "{{ 7 * 7 }}" in root.named("rows").text


def test_the_data_of_strangers_ends_no_script_and_is_read_as_it_was(hostile: tuple[str, Element]) -> None:
    text, root = hostile
    written = "".join(root.named("data").own)
    assert not set("<>&\u2028\u2029").intersection(written)
    assert written in text
    names = [label["name"] for label in json.loads(written)["labels"]]
    assert {HOSTILE[0], HOSTILE[1], "__proto__", "constructor"} <= set(names)


def test_characters_that_nobody_sees_or_that_turn_the_writing_are_not_there(hostile: tuple[str, Element]) -> None:
    text, _ = hostile
    assert all(one.isprintable() or one == "\n" for one in text.partition("<body>")[2].partition("<script")[0])


def test_data_and_table_are_in_one_order(plain: Element) -> None:
    data = json.loads("".join(plain.named("data").own))
    table = [(line.all("th")[0].text.split()[0], line.all("td")[0].text) for line in plain.named("rows").all("tr")[1:]]
    labels, sizes = ([each["name"] for each in data[name]] for name in ("labels", "sizes"))
    placed = zip(data["rows"]["label"], data["rows"]["size"], strict=True)
    assert [(labels[label], sizes[size]) for label, size in placed] == table


def test_a_thousand_rows_fit_and_of_very_many_it_says_how_many_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_records.write(tmp_path / "run", 1700, mechanisms=14)
    records = reporting.read(tmp_path / "run")
    assert len(page(Findings.of(records[:1000]), command="").encode()) < 1_500_000
    root = read(page(Findings.of(records), command=""))
    data = json.loads("".join(root.named("data").own))
    listed = len(root.named("rows").all("tr")) - 1
    assert 1000 < listed <= 1500
    assert listed == len(data["rows"]["listed"])
    assert len(data["rows"]["label"]) == 1700
    assert f"The table lists the first {listed} of 1700 rows" in root.all("noscript")[0].text
    assert "This page holds" not in root.named("answer").text
    monkeypatch.setattr(shipped, "MOST_ROWS", 1500)
    root = read(page(Findings.of(records), command=""))
    assert f"This page holds {listed:,} of 1,700 rows" in root.named("answer").text


@pytest.mark.parametrize(
    "rows",
    [
        pd.DataFrame(columns=list(row())),
        pd.DataFrame([failed("mhsa", 224, "oom", OUT_OF_MEMORY)]),
        pd.DataFrame([row(height=224, width=448)]),
        with_accuracy(default_run()),
    ],
)
def test_any_run_gives_a_page(rows: pd.DataFrame) -> None:
    assert read(page(Findings(rows=prepared(rows)), command="")).named("answer").text
