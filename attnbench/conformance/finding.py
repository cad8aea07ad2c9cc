"""What a check found out. Imports no torch."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from enum import StrEnum

from attnbench import raised

_LONGEST = 300
"""Characters of what somebody else's exception says."""


class CheckOutcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CLAIMED = "not claimed"
    """The mechanism does not say that it does what the check is about."""
    NOT_RUN = "not run"
    """A check before it failed that it relies on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The outcome of one check of one mechanism.

    Example:
        >>> CheckResult(
        ...     check="macs", outcome=CheckOutcome.NOT_CLAIMED, expected="a closed form", found="none", reproduce=""
        ... ).passed
        True
    """

    check: str
    outcome: CheckOutcome
    expected: str
    found: str
    advice: str = ""
    """What to do about it, where the two lines above leave that open."""
    reproduce: str
    """A line for the shell that runs this check by itself, where it failed if it did."""

    @property
    def passed(self) -> bool:
        """Whether the check has nothing against the mechanism."""
        return self.outcome in {CheckOutcome.PASSED, CheckOutcome.NOT_CLAIMED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings about one mechanism, in the order of the checks.

    Example:
        >>> wrong = CheckResult(
        ...     check="shape", outcome=CheckOutcome.FAILED, expected="(1, 7, 7, 24)", found="(1, 1, 1, 24)",
        ...     reproduce="attnbench check mine --checks shape",
        ... )
        >>> print(Report(name="mine", distribution="mine 1.0", findings=(wrong,)))
        mine from mine 1.0: 1 of 1 checks failed
        shape
          expected  (1, 7, 7, 24)
          found     (1, 1, 1, 24)
          attnbench check mine --checks shape
    """

    name: str
    distribution: str
    """The distribution or file that answers for it."""
    findings: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The findings of the checks that failed."""
        return tuple(finding for finding in self.findings if finding.outcome is CheckOutcome.FAILED)

    def __str__(self) -> str:
        lines = [f"{self.name} from {self.distribution}: {len(self.failures)} of {len(self.findings)} checks failed"]
        for each in self.failures:
            lines += [
                f"{each.check}",
                f"  expected  {each.expected}",
                f"  found     {each.found}",
                *([f"  to do     {each.advice}"] if each.advice else []),
                f"  {each.reproduce}",
            ]
        return "\n".join(lines)


class BrokenError(AssertionError):
    """Raised by a check: the mechanism does not keep what the check is about.

    Example:
        >>> BrokenError("a map of (1, 1, 1, 24)", expected="a map of (1, 7, 7, 24)").expected
        'a map of (1, 7, 7, 24)'
    """

    def __init__(self, found: str, *, expected: str = "", advice: str = "", site: object = None) -> None:
        """Say what was found.

        Args:
            found: what the mechanism does.
            expected: what it should do; the check's own description if empty.
            advice: what to do about it.
            site: the one site at which it can be seen; None for any.
        """
        super().__init__(found)
        self.found = found
        self.expected = expected
        self.advice = advice
        self.site = site


class NotClaimedError(Exception):
    """Raised by a check: the mechanism does not claim what the check is about."""


def in_a_line(error: BaseException) -> str:
    """Return an exception's type and text, over however many lines it wrote it, as one; long ones end at a word."""
    said = textwrap.shorten(str(error), _LONGEST, placeholder=" ...")
    return f"{type(error).__name__}: {said}" if said else raised.in_words(error)
