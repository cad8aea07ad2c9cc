"""The page put together: the report's blocks in a template, with the scripts, their data, and a policy that holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from markupsafe import Markup

from attnbench import inert
from attnbench.report.document import document
from attnbench.report.findings import Findings
from attnbench.report.html import bundle
from attnbench.report.html.answer import answer
from attnbench.report.html.payload import payload
from attnbench.report.html.shipped import shipped
from attnbench.report.page.blocks import Block, Heading, Page
from attnbench.report.summary import crossed
from attnbench.roofline import MachineLimits

_OWN = ("page.js", "state.js", "table.js", "where.js", "plots.js", "front.js", "roofline.js", "budget.js", "start.js")


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
    scripts, style = _scripts(), bundle.read("report.css")
    return bundle.template("report.html.jinja").render(
        title=title.title,
        answer=answer(held, missing=missing),
        crossings=tuple(crossed(held.findings.crossovers, held.findings.baselines)),
        sections=sections,
        held=held,
        several_settings=len(held.settings) > 1,
        listed=sum(row.listed for row in held.rows),
        data=Markup(inert.script_data(payload(held, limits or {}))),  # noqa: S704 - that escapes
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - our own
        style=Markup(style),  # noqa: S704 - our own
        policy=bundle.policy(scripts, style),
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
    return bundle.scripts(*_OWN)
