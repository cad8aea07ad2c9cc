"""The page of a history: what is said stands in it without script, and a browser draws what is in sight."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import many_runs
import pytest
from browser import Browser, browsing, needs_browser
from hostile_records import HOSTILE
from html_reading import read

from attnbench.history import words
from attnbench.history.account import history
from attnbench.record import Status
from attnbench.report.html.over_time import history_page

DRAWN = "document.querySelectorAll('#grid > div[data-drawn]').length"


def page_of(rows: list) -> str:
    found = history(rows)
    return history_page(found, words.page(found))


@pytest.fixture(scope="module")
def text() -> str:
    made = many_runs.records(30, 100, slower={(3, 70): 1.2})
    return page_of([row for rows in made.values() for row in rows])


def test_what_changed_is_there_without_script(text: str) -> None:
    said = read(text).named("answer").text
    assert "1 slower, 0 faster: 30 cells over 100 revisions" in said
    assert many_runs.commit(70)[:9] in said
    assert len(text) < 1_500_000


def test_names_of_strangers_are_text() -> None:
    rows = [
        replace(row, cell=replace(row.cell, mechanism=name), run_id=name, environment={"hardware": name, "code": {}})
        for name in HOSTILE
        for (row,) in many_runs.records(1, 8).values()
    ]
    root = read(page_of(rows))
    assert not set("<>&").intersection("".join(root.named("data").own))
    assert {one.tag for one in root.all()}.isdisjoint({"img", "iframe", "link", "object", "embed", "base", "form"})
    assert len([*root.all("script")]) == 5


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def failing() -> str:
    made = many_runs.records(3, 12)
    for place in range(9, 12):
        made[place][2] = replace(made[place][2], status=Status.FAILED, reason="no kernel", metrics={})
    return page_of([row for rows in made.values() for row in rows])


AXE = Path(__file__).parents[2] / "helpers" / "axe" / "axe.min.js"
FOUND = "axe.run().then(found => found.violations.map(one => `${one.id}: ${one.nodes.map(node => node.target)}`))"
WAITED = f"new Promise(done => {{ const look = () => {DRAWN} ? done() : setTimeout(look, 20); look(); }})"


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_axe_finds_nothing_and_the_dark_is_dark(
    browser: Browser, failing: str, width: int, scheme: str, tmp_path: Path
) -> None:
    file = tmp_path / "history.html"
    file.write_text(failing, encoding="utf-8")
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(file, width=width)
    browser.run("document.getElementById('grid').scrollIntoView()")
    browser.run(WAITED)
    browser.run(f"{AXE.read_text(encoding='utf-8')}; 0")
    assert browser.run(FOUND) == []
    dark = "getComputedStyle(document.body).backgroundColor !== 'rgb(255, 255, 255)'"
    assert browser.run(dark) is (scheme == "dark")


@needs_browser
def test_runs_in_which_a_cell_failed_are_marks_above_its_plot_and_it_is_first(
    browser: Browser, failing: str, tmp_path: Path
) -> None:
    file = tmp_path / "history.html"
    file.write_text(failing, encoding="utf-8")
    browser.open(file)
    browser.run("document.getElementById('grid').scrollIntoView()")
    browser.run(WAITED)
    first = "document.querySelector('#grid > div')"
    browser.run(
        f"new Promise(done => {{ const look = () => {first}.dataset.drawn ? done() : setTimeout(look, 20); look(); }})"
    )
    assert browser.run(f"{first}.querySelector('figcaption').innerText") == "m2"
    assert browser.run(f"{first}.querySelector('.picture').ariaLabel.includes('3 did not run')")
    assert "ok to failed" in read(failing).named("answer").text


@needs_browser
@pytest.mark.parametrize("width", [320, 1280])
def test_it_draws_what_is_in_sight_without_complaint_or_request(
    browser: Browser, text: str, width: int, tmp_path: Path
) -> None:
    file = tmp_path / "history.html"
    file.write_text(text, encoding="utf-8")
    browser.complaints.clear()
    browser.open(file, width=width)
    browser.run("document.getElementById('grid').scrollIntoView()")
    browser.run(f"new Promise(done => {{ const look = () => {DRAWN} ? done() : setTimeout(look, 20); look(); }})")
    assert browser.complaints == []
    assert browser.requests == []
    assert 0 < browser.run(DRAWN) < 30
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.querySelector('#grid figcaption').innerText") == "m3, 64"
    browser.run("document.querySelector('#controls [type=checkbox]').click()")
    assert browser.run("document.querySelectorAll('#grid > div').length") == 1


@needs_browser
def test_on_paper_all_is_drawn_also_what_nobody_has_scrolled_to(browser: Browser, text: str, tmp_path: Path) -> None:
    file = tmp_path / "history.html"
    file.write_text(text, encoding="utf-8")
    browser.call("Emulation.setEmulatedMedia", features=[])
    browser.open(file)
    assert browser.run(DRAWN) < 30
    printed = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    assert browser.run(DRAWN) == 30
    assert printed.count(b"/Type /Page\n") >= 10  # three plots a page
