"""The page put together: the report's blocks in a template, with the scripts, their data, and a policy that holds."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from attnbench import inert
from attnbench.report.document import document
from attnbench.report.findings import Findings
from attnbench.report.html.answer import answer
from attnbench.report.html.payload import payload
from attnbench.report.html.shipped import shipped
from attnbench.report.page.blocks import Block, Heading, Page, pieces
from attnbench.report.page.markdown import NOT_MEASURED
from attnbench.report.summary import crossed
from attnbench.roofline import MachineLimits

_LIBRARIES = ("vega.min.js", "vega-lite.min.js", "vega-interpreter.js")
_OWN = ("state.js", "table.js", "plots.js", "front.js", "roofline.js", "budget.js", "start.js")
_MOST_OF_A_REASON = 100
_POLICY = "default-src 'none'; script-src {scripts}; style-src {style}; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page under a heading of its own."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def name(self) -> str:
        """What links call it."""
        return re.sub(r"[^a-z]+", "-", self.title.lower())


def page(
    findings: Findings, limits: Mapping[str, MachineLimits] | None = None, *, command: str, missing: Sequence[str] = ()
) -> str:
    """Return a report as the text of an HTML file that needs no other.

    Args:
        findings: what is reported.
        limits: of the machines, by ``environment_id``.
        command: what to type to get these records again.
        missing: cells that were asked for and have no row, in words.
    """
    held = shipped(findings)
    title, *sections = _sections(document(held.findings, command=command, missing=missing))
    scripts, style = _scripts(), _read("report.css")
    return _template().render(
        title=title.title,
        answer=answer(held, missing=missing),
        crossings=tuple(crossed(held.findings.crossovers, held.findings.baselines)),
        sections=sections,
        held=held,
        several_settings=len(held.settings) > 1,
        data=Markup(inert.script_data(payload(held, limits or {}))),  # noqa: S704 - that escapes
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - our own
        style=Markup(style),  # noqa: S704 - our own
        policy=_POLICY.format(scripts=" ".join(map(_hash, scripts)), style=_hash(style)),
    )


def _sections(blocks: Page) -> Iterator[Section]:
    """Yield the title, and the sections each without its heading."""
    starts = [place for place, block in enumerate(blocks) if isinstance(block, Heading) and block.level < 3]
    for start, end in zip(starts, [*starts[1:], len(blocks)], strict=True):
        heading = blocks[start]
        assert isinstance(heading, Heading)
        yield Section(title=heading.text, blocks=tuple(blocks[start + 1 : end]))


@cache
def _scripts() -> tuple[str, ...]:
    own = "".join(map(_read, _OWN))
    return (*(_read(f"vega/{name}") for name in _LIBRARIES), f'"use strict";\n(() => {{\n{own}}})();\n')


def _read(name: str) -> str:
    return (resources.files("attnbench.report.html") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return how a policy names the one script or style that it lets in."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, finalize=_inert, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "kind": lambda block: type(block).__name__,
        "pieces": pieces,
        "cut": lambda text: f"{text[:_MOST_OF_A_REASON]}..." if len(text) > _MOST_OF_A_REASON else text,
    }
    environment.globals["not_measured"] = NOT_MEASURED
    return environment.from_string(_read("report.html.jinja"))


def _inert(value: object) -> object:
    """Return what a template prints: of strangers nothing that turns the direction of writing or is not seen."""
    return inert.shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value
