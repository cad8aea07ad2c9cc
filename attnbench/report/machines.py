"""The section of a page that says on what machine and with what software its figures were measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attnbench.report.environments import Lines, apart, known
from attnbench.report.page.blocks import Block, Column, Heading, Paragraph, Table


def machines(environments: Mapping[str, Lines]) -> Iterator[Block]:
    """Yield what is known of the machines: first what they share, then what is each one's own.

    Args:
        environments: facts by ``environment_id``.
    """
    yield Heading(text="Machine and software")
    if not environments:
        yield Paragraph("No environment was recorded.")
        return
    shared, own = apart({name: known(facts) for name, facts in environments.items()})
    if shared:
        yield _facts(shared)
    for name, facts in own.items():
        yield Heading(text=name, level=3)
        yield _facts(facts)


def _facts(facts: Lines) -> Table:
    return Table(columns=(Column(heading=""), Column(heading="")), rows=tuple(facts))
