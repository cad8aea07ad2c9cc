"""What does not hold in a run's folder, what could not be looked at, and how much does hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from attnbench import inert
from attnbench.metrics import is_number

_TOLERANCE = 1e-9
"""How far two results of the same arithmetic may be apart, as a fraction: libraries add in different orders."""
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A row of a file in a run's folder."""

    file: str
    row: str = ""

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.file, self.row)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """Something that does not hold.

    Example:
        >>> place = Place(file="records.jsonl", row="line 2 (qna at 224)")
        >>> print(Discrepancy(place=place, figure="latency_median_s", kept="0.1", found="0.2"))
        records.jsonl, line 2 (qna at 224): latency_median_s: kept 0.1, worked out 0.2
    """

    place: Place
    figure: str
    kept: str
    found: str
    """What was worked out, or what the rules ask for."""

    def __str__(self) -> str:
        return inert.line(f"{self.place}: {self.figure}: kept {_cut(self.kept)}, worked out {_cut(self.found)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchecked:
    """Something that cannot be worked out again, and why; it fails nothing."""

    what: str
    reason: str
    times: int = 1
    """Of how many rows that is so."""

    def __str__(self) -> str:
        rows = f" ({self.times} rows)" if self.times > 1 else ""
        return inert.line(f"not checked: {self.what}: {self.reason}{rows}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVerification:
    """What was found of one folder.

    Example:
        >>> found = KeptVerification(folder=Path("results/x"), findings=(), unchecked=(), figures=12, rows=2)
        >>> found.holds
        True
        >>> print(found.summary)
        results/x: 12 figures of 2 rows hold
    """

    folder: Path
    findings: tuple[Discrepancy, ...]
    unchecked: tuple[Unchecked, ...]
    figures: int
    """How many were compared with what they should be, and hold."""
    rows: int

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def summary(self) -> str:
        """The verdict in a line."""
        wrong = f"; {len(self.findings)} do not" if self.findings else ""
        return f"{self.folder}: {self.figures} figures of {self.rows} rows hold{wrong}"


@dataclass(slots=True)
class Tally:
    """Collects what holds, what does not and what cannot be looked at."""

    findings: list[Discrepancy] = field(default_factory=list)
    figures: int = 0
    _unchecked: dict[tuple[str, str], int] = field(default_factory=dict)

    def compare(self, place: Place, figure: str, *, kept: object, found: object) -> None:
        """Set what is kept against what was worked out."""
        if alike(kept, found):
            self.figures += 1
        else:
            self.wrong(place, figure, kept=kept, found=found)

    def demand(self, holds: object, place: Place, figure: str, *, kept: object, found: object) -> None:
        """Note whether something is as the rules ask; ``found`` says what would be."""
        if holds:
            self.figures += 1
        else:
            self.wrong(place, figure, kept=kept, found=found)

    def wrong(self, place: Place, figure: str, *, kept: object, found: object) -> None:
        """Note what does not hold."""
        self.findings.append(Discrepancy(place=place, figure=figure, kept=_said(kept), found=_said(found)))

    def skip(self, what: str, reason: str) -> None:
        """Note what cannot be worked out again."""
        self._unchecked[what, reason] = self._unchecked.get((what, reason), 0) + 1

    @property
    def unchecked(self) -> tuple[Unchecked, ...]:
        """What could not be looked at, the same of several rows once."""
        return tuple(
            Unchecked(what=what, reason=reason, times=times) for (what, reason), times in self._unchecked.items()
        )


def alike(kept: object, found: object) -> bool:
    """Say whether two values are the same figure: numbers but for the last digits, all else exactly."""
    if is_number(kept) and is_number(found) and not (isinstance(kept, int) and isinstance(found, int)):
        return math.isclose(kept, found, rel_tol=_TOLERANCE)
    return type(kept) is type(found) and kept == found


def _said(value: object) -> str:
    return "nothing" if value is None or value == "" else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
