"""What a report is made from, worked out once: prepared rows, their sheets, their crossovers, their environments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from attnbench.record import Record
from attnbench.report.bounds import at_roofs
from attnbench.report.comparison import accuracy_conditions, constants, prepared
from attnbench.report.crossover import Crossover, crossovers
from attnbench.report.environments import Lines, describe_all
from attnbench.report.page.blocks import Book
from attnbench.report.rows import rows as rows_of
from attnbench.report.sheet import book
from attnbench.roofline import MachineLimits
from attnbench.selfcheck import kept


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that screen, Markdown, plots and files of one report share.

    Example:
        >>> Findings.of([]).book.sheets
        ()
    """

    rows: pd.DataFrame
    """A row per cost cell, as ``comparison.prepared`` returns them."""
    environments: Mapping[str, Lines] = field(default_factory=dict)
    """By ``environment_id``."""
    selfchecks: Sequence[str] = ()
    """Of each place that rows were timed on, what the self-check found there."""

    @classmethod
    def of(
        cls,
        records: Sequence[Record],
        folders: Iterable[Path] = (),
        *,
        machines: Mapping[str, str] | None = None,
        limits: Mapping[str, MachineLimits] | None = None,
    ) -> Findings:
        """Return what is to be reported of records.

        Args:
            records: rows.
            folders: of the runs that they come from, in which self-checks are kept.
            machines: what speaks against the machine of a run's rows, by the run.
            limits: the highest known of the machines, by ``environment_id``; a row of none is bounded as it was kept.
        """
        environments = describe_all(record.environment for record in records)
        selfchecks = kept.said(records, folders)
        rows = rows_of(at_roofs(records, limits) if limits else records)
        rows["machine_remark"] = rows["run_id"].map(dict(machines or {}))
        return cls(rows=prepared(rows), environments=environments, selfchecks=selfchecks)

    @cached_property
    def book(self) -> Book:
        """The rows as sheets."""
        return book(self.rows, accuracy=accuracy_conditions(self.rows))

    @cached_property
    def constants(self) -> tuple[str, ...]:
        """What all rows have in common, in phrases."""
        return constants(self.rows)

    @cached_property
    def baselines(self) -> set[str]:
        """Labels of the mechanisms that others are compared with."""
        return set(self.rows.loc[self.rows["is_baseline"].eq(other=True), "label"])

    @cached_property
    def crossovers(self) -> list[Crossover]:
        """Of all pairs of mechanisms that are looked at."""
        return crossovers(self.rows)
