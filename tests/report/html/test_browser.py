"""The page in a real browser: no complaint, no request, nothing of strangers runs, and views follow the selection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from browser import Browser, browsing, needs_browser
from hostile_records import of_strangers
from records_for_reports import OUT_OF_MEMORY, default_run, failed, with_accuracy

from attnbench.report.comparison import prepared
from attnbench.report.findings import Findings
from attnbench.report.html import shipped
from attnbench.report.html.writing import page
from attnbench.roofline import MachineLimits

pytestmark = needs_browser
DRAWN = (
    "new Promise(done => { const look = () => document.body.dataset.drawn ? done() : setTimeout(look, 20); look(); })"
)
LINES = "[...document.querySelectorAll('#rows tbody tr')]"
SHOWN = f"{LINES}.filter(line => !line.hidden).map(line => line.cells[0].innerText)"
SAID = "document.querySelector('#budget [role=status]').innerText"
CONTROLS = "[...document.querySelectorAll('input, select, button')]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    failures = [failed("mhsa", 1024, "oom", OUT_OF_MEMORY)]
    rows = pd.concat([default_run(), pd.DataFrame(failures)], ignore_index=True)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(Findings(rows=prepared(rows)), command="attnbench run"), encoding="utf-8")
    return path


def opened(browser: Browser, file: Path, fragment: str = "", width: int = 1280) -> Browser:
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(file, fragment=fragment, width=width)
    browser.run(DRAWN)
    return browser


@pytest.mark.parametrize("width", [320, 1920])
def test_it_draws_without_complaint_or_request_and_is_no_wider_than_the_window(
    browser: Browser, file: Path, width: int
) -> None:
    opened(browser, file, width=width)
    assert browser.complaints == []
    assert browser.requests == []
    assert browser.run("document.querySelectorAll('.picture svg').length") >= 4
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert "5 mechanisms at 224, 384, 512" in browser.run("document.querySelector('#first-plot .picture').ariaLabel")


def test_names_of_strangers_run_nothing_and_are_drawn_as_they_are(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(Findings.of(of_strangers()), command="</pre><script>alert(1)</script>"), encoding="utf-8")
    opened(browser, path)
    assert browser.complaints == []
    assert browser.requests == []
    assert browser.run("document.querySelectorAll('img, iframe, [onerror], [onmouseover], [onfocus]').length") == 0
    assert "<img src=x onerror=alert(1)>" in browser.run("document.getElementById('selection').innerText")
    assert "__proto__" in browser.run("document.getElementById('first-plot').innerText")


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(browser: Browser, file: Path) -> None:
    opened(browser, file)
    click = "document.querySelectorAll('#rows thead button')[0].click()"
    browser.run(click)
    rising = browser.run(SHOWN)
    browser.run(click)
    assert rising == sorted(rising)
    assert browser.run(SHOWN) == sorted(rising, reverse=True)
    assert browser.run("document.querySelector('#rows thead th').getAttribute('aria-sort')") == "descending"


def test_what_was_not_measured_is_last_whichever_way_is_sorted(browser: Browser, file: Path) -> None:
    for sort in ("latency_median_s", "-latency_median_s"):
        opened(browser, file, f"#sort={sort}")
        ends = browser.run(f"{LINES}.map(line => line.cells[line.cells.length - 1].innerText === 'ok')")
        assert ends == sorted(ends, reverse=True)


def test_a_selection_holds_in_table_plots_and_budget_and_is_in_the_address(browser: Browser, file: Path) -> None:
    opened(browser, file)
    browser.run(
        "[...document.querySelectorAll('#selection label')].find(one => one.innerText.trim() === 'qna')"
        ".querySelector('input').click()"
    )
    browser.run("new Promise(done => setTimeout(done, 500))")
    assert browser.run("location.hash") == "#hide=qna"
    assert not [name for name in browser.run(SHOWN) if name.startswith("qna")]
    for view in ("#first-plot", "#plots", "#budget"):
        assert "qna" not in browser.run(f"document.querySelector('{view}').innerText")
    opened(browser, file, "#hide=qna&res=224")
    assert {name.split()[0] for name in browser.run(SHOWN)} == {"mhsa", "swin", "hmhsa", "lavit"}
    assert len(browser.run(SHOWN)) == 4


def test_an_address_of_another_run_is_passed_over(browser: Browser, file: Path) -> None:
    opened(browser, file, "#hide=nobody&res=7&sort=constructor&at=9&goal=x&most.params=-1&most.y=2&without=__proto__")
    assert browser.complaints == []
    assert len(browser.run(SHOWN)) == len(default_run()) + 1


def test_the_budget_names_the_best_that_fits_its_row_and_what_would_change_it(browser: Browser, file: Path) -> None:
    opened(browser, file, "#at=224")
    free = browser.run(SAID)
    assert free.startswith("qna fits with the lowest latency: 12.5 ms")
    assert "Runner-up: hmhsa" in free
    opened(browser, file, "#at=224&most.latency_median_s=14&most.memory_peak_bytes=1")
    none = browser.run(SAID)
    assert none.startswith("None fits. Nearest: ")
    opened(browser, file, "#at=224&most.latency_median_s=1")
    tight = browser.run(SAID)
    assert "with at most 12.5 ms" in tight
    assert "qna would fit" in tight


def test_the_front_is_of_the_two_metrics_in_the_address(browser: Browser, file: Path) -> None:
    opened(browser, file, "#at=384&across=params&up=macs")
    said = "[...document.querySelectorAll('#plots p')].find(one => one.innerText.startsWith('On the front')).innerText"
    assert browser.run(said).startswith("On the front: swin, qna.")
    assert browser.complaints == []


def test_a_cell_that_did_not_run_is_a_mark_above_the_plot(browser: Browser, file: Path) -> None:
    opened(browser, file)
    assert "mhsa: timeout, oom" in browser.run("document.getElementById('first-plot').innerText")


def test_every_control_has_a_name_and_takes_the_focus(browser: Browser, file: Path) -> None:
    opened(browser, file)
    nameless = "!one.innerText.trim() && !one.ariaLabel && !one.labels?.[0]?.innerText.trim()"
    assert browser.run(f"{CONTROLS}.filter(one => {nameless}).length") == 0
    assert browser.run(f"{CONTROLS}.every(one => one.tabIndex === 0)")


def test_the_keyboard_reaches_everything_that_can_be_used(browser: Browser, file: Path) -> None:
    opened(browser, file)
    usable = "[...document.querySelectorAll('a[href], input, select, button, summary, [tabindex=\"0\"]')]"
    browser.run(f"globalThis.left = new Set({usable}.filter(one => one.checkVisibility())); 0")
    for _ in range(browser.run("left.size")):
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        browser.run("left.delete(document.activeElement)")
    assert browser.run("[...left].map(one => one.outerHTML.slice(0, 100))") == []


def test_notes_are_open_on_paper_and_as_they_were_afterwards(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    rows = prepared(default_run().assign(adaptation="padded to 28x28"))
    path.write_text(page(Findings(rows=rows), command="attnbench run"), encoding="utf-8")
    opened(browser, path)
    states = "[...document.querySelectorAll('details.notes')].map(one => one.open)"
    assert browser.run(f"dispatchEvent(new Event('beforeprint')); {states}") == [True]
    assert browser.run(f"dispatchEvent(new Event('afterprint')); {states}") == [False]


AXE = Path(__file__).parents[2] / "helpers" / "axe" / "axe.min.js"
FOUND = "axe.run().then(found => found.violations.map(one => `${one.id}: ${one.nodes.map(node => node.target)}`))"


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page with every view: accuracies, and a roof over what was timed."""
    rows = with_accuracy(default_run()).assign(dtype="float32", mode="infer", batch=1, bytes_lower_bound=2e8)
    limits = {"e1f0": MachineLimits(device="cpu", threads=1, macs_per_s={"float32": 1e12}, bytes_per_s=2e10)}
    path = tmp_path_factory.mktemp("complete") / "report.html"
    path.write_text(page(Findings(rows=prepared(rows)), limits, command="attnbench run"), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_axe_finds_nothing(browser: Browser, complete: Path, scheme: str, width: int) -> None:
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    opened(browser, complete, width=width)
    browser.run("new Promise(done => setTimeout(done, 500))")
    browser.run(f"{AXE.read_text(encoding='utf-8')}; 0")
    assert browser.run(FOUND) == []
    dark = "getComputedStyle(document.body).backgroundColor !== 'rgb(255, 255, 255)'"
    assert browser.run(dark) is (scheme == "dark")


def test_what_calls_attained_is_drawn_under_the_roof_and_follows_the_selection(
    browser: Browser, complete: Path
) -> None:
    opened(browser, complete)
    browser.run("new Promise(done => setTimeout(done, 500))")
    roofline = "document.querySelector('.roofline').innerText"
    assert "float32: 1.00 TMACs/s; memory: 20.0 GB/s" in browser.run(roofline)
    assert "qna" in browser.run("document.querySelector('.roofline').nextElementSibling.innerText")
    opened(browser, complete, "#hide=qna")
    browser.run("new Promise(done => setTimeout(done, 500))")
    assert "qna" not in browser.run("document.querySelector('.roofline').nextElementSibling.innerText")
    assert browser.complaints == []


def test_accuracy_is_drawn_against_resolution_too(browser: Browser, complete: Path) -> None:
    opened(browser, complete)
    assert "Accuracy against latency" not in browser.run("document.querySelector('#plots .grid').innerText")
    assert "Top-1 accuracy" in browser.run("document.querySelector('#plots .grid').innerText")


def of_machines() -> str:
    """Return a page of four machines, two types each, one of which has no rows on the last machine."""
    names = {"H100": 0.1, "A100": 0.2, "Xeon": 1.0, "EPYC": 0.5}
    parts = []
    for place, (name, factor) in enumerate(names.items()):
        for dtype in ("float32", "bfloat16")[: 1 if name == "EPYC" else 2]:
            rows = default_run().assign(hardware=name, dtype=dtype, environment_id=f"e{place}", run_id=f"run-{place}")
            for column in ("latency_median_s", "latency_ci_low_s", "latency_ci_high_s"):
                rows[column] = rows[column] * factor
            parts.append(rows)
    return page(Findings(rows=prepared(pd.concat(parts, ignore_index=True))), command="attnbench report")


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("machines") / "report.html"
    path.write_text(of_machines(), encoding="utf-8")
    return path


CAPTIONS = "[...document.querySelectorAll('#plots .grid figcaption')].map(one => one.innerText)"
CHOOSE = """
(() => {{
const label = [...document.querySelectorAll('{within} label')].find(one => one.innerText.startsWith('{name}'));
const box = label.querySelector('select');
box.value = [...box.options].find(one => one.text === '{value}').value; box.dispatchEvent(new Event('change')); }})()
"""


def settled(browser: Browser) -> None:
    browser.run("new Promise(done => setTimeout(done, 500))")


def test_machines_stand_beside_each_other_on_one_scale(browser: Browser, machines: Path) -> None:
    opened(browser, machines)
    latencies = [one for one in browser.run(CAPTIONS) if one.startswith("Latency")]
    assert latencies == [f"Latency of one call, {name}" for name in ("H100", "A100", "Xeon", "EPYC")]
    pictures = "[...document.querySelectorAll('#plots .grid .picture')].slice(0, 4)"
    scale = "[...one.querySelectorAll('.role-axis')].find(axis => axis.ariaLabel?.startsWith('Y-axis')).ariaLabel"
    assert browser.complaints == []
    assert len(set(browser.run(f"{pictures}.map(one => {scale})"))) == 1
    opened(browser, machines, "#beside=type")
    assert browser.run(CAPTIONS)[:2] == ["Latency of one call, float32", "Latency of one call, bfloat16"]


def test_a_choice_of_hardware_holds_in_the_answer_the_budget_and_the_plots(browser: Browser, machines: Path) -> None:
    opened(browser, machines)
    assert "H100" in browser.run("document.querySelector('#said h3').innerText")
    before = browser.run(SAID)
    browser.run(CHOOSE.format(within="#where", name="Type", value="bfloat16"))
    browser.run(CHOOSE.format(within="#where", name="Hardware", value="EPYC"))
    settled(browser)
    # There are no rows of bfloat16 on it: the nearest that is there is taken.
    assert browser.run("document.querySelector('#said h3').innerText") == "float32, EPYC"
    assert "EPYC" in browser.run("document.querySelector('#first-plot figcaption').innerText")
    assert browser.run(SAID) != before
    fragment = browser.run("location.hash")
    opened(browser, machines, fragment)
    assert browser.run("document.querySelector('#said h3').innerText") == "float32, EPYC"
    summaries = browser.run("[...document.querySelectorAll('#others > details > summary')].map(one => one.textContent)")
    assert len(set(summaries)) == 6
    assert "float32, EPYC" not in summaries
    browser.run(CHOOSE.format(within="#budget", name="Hardware", value="H100"))
    settled(browser)
    assert browser.run("document.querySelector('#said h3').innerText") == "float32, H100"


def test_hardware_that_is_selected_is_the_only_one_everywhere(browser: Browser, machines: Path) -> None:
    opened(browser, machines, "#with.hardware=Xeon")
    assert browser.run("document.querySelector('#said h3').innerText") == "float32, Xeon"
    assert len(browser.run(SHOWN)) == 2 * len(default_run())
    assert {one.partition(", ")[2] for one in browser.run(CAPTIONS)} == {"float32, Xeon", "bfloat16, Xeon"}


def test_rows_that_the_file_does_not_list_are_lines_when_they_are_asked_for(
    browser: Browser, machines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(browser, machines, "#with.hardware=EPYC")
    text = f"{LINES}.map(line => [...line.cells].map(cell => cell.innerText.replace(/ [0-9,]+$/, '').trim()).join('|'))"
    listed = browser.run(text)
    monkeypatch.setattr(shipped, "MOST_LISTED", 15)
    path = tmp_path / "report.html"
    path.write_text(of_machines(), encoding="utf-8")
    opened(browser, path, "#with.hardware=EPYC")
    assert browser.complaints == []
    assert browser.run(text) == listed
