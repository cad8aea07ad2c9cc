"""What is to be said of a claim, from what was measured and from what the machine is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from attnbench.claims.answer import Answer
from attnbench.claims.claim import UNITS, Check, Claim, Reason, Relation, Take
from attnbench.claims.plan import learned
from attnbench.probes.interval import Estimate

_TOLERANCE = 0.01
"""Of a formula at every size, and of the figure that a reason gives, which may round the other way."""
_EXPONENT_TOLERANCE = 0.05


class ClaimVerdict(StrEnum):
    """The end of a claim."""

    REPRODUCED = "reproduced"
    DIFFERS = "differs"
    NEEDS_GPU = "needs a GPU"
    NEEDS_DATA = "needs its data set"
    UNSTATED = "not stated precisely enough"
    NOT_MEASURED = "not measured"
    """It could have been, and what should have measured it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A claim with what came of it."""

    claim: Claim
    verdict: ClaimVerdict
    answer: Answer | None = None
    measured: Estimate | None = None
    """In the claim's unit."""
    because: tuple[str, ...] = ()
    """Reasons that were tested and hold and what the ledger says beside them, or why nothing was measured."""

    @property
    def difference(self) -> float | None:
        """Measured over stated less 1; the largest over the sizes for a formula."""
        if self.answer is None or self.measured is None:
            return None
        if self.claim.check and self.claim.check.formula:
            return None if self.claim.check.take is Take.EXPONENT else self.answer.deviation
        stated = float(self.claim.value) if not isinstance(self.claim.value, str) else 0.0
        return self.measured.value / stated - 1 if stated else None


Found = Answer | str
"""What a check gave, or why it gave nothing."""


def judge(claim: Claim, outcomes: Mapping[Check, Found], *, hardware: str) -> Judgement:
    """Return the verdict on a claim.

    Args:
        claim: what was stated.
        outcomes: of the checks that were made.
        hardware: the machine they were made on.
    """
    outcome = outcomes.get(claim.check) if claim.check else None
    answer = outcome if isinstance(outcome, Answer) else None
    measured = _in_unit(claim, answer) if answer else None

    def ends(verdict: ClaimVerdict, *because: str) -> Judgement:
        return Judgement(claim=claim, verdict=verdict, answer=answer, measured=measured, because=because)

    if claim.missing:
        return ends(ClaimVerdict.UNSTATED, claim.missing)
    if claim.data and outcome is None:
        return ends(ClaimVerdict.NEEDS_DATA, claim.data)
    if claim.hardware and claim.hardware not in hardware:
        return ends(ClaimVerdict.NEEDS_GPU, claim.hardware)
    if answer is None or measured is None:
        return ends(ClaimVerdict.NOT_MEASURED, str(outcome or "not asked for"))
    if holds(claim, claim.check, answer):
        return ends(ClaimVerdict.REPRODUCED)
    tested = (_explained(claim, reason, outcomes) for reason in claim.reasons)
    return ends(ClaimVerdict.DIFFERS, *filter(None, (*tested, claim.beside)))


def holds(claim: Claim, check: Check | None, answer: Answer) -> bool:
    """Say whether what was measured is what the claim states.

    A figure is if its interval meets what rounds to the figure printed. A formula is if it is right to 1 % at every
    size, or, where only its growth is claimed, if the growth is right to 0.05.
    """
    if check is not None and check.formula:
        return _grows_as_printed(answer) if check.take is Take.EXPONENT else answer.deviation <= _TOLERANCE
    found, stated = _in_unit(claim, answer), float(claim.value)
    # The digits that were printed may have been rounded either way, and floats add a little.
    tolerance = claim.tolerance * (1 + 1e-9)
    return {
        Relation.EQUAL: found.low <= stated + tolerance and found.high >= stated - tolerance,
        Relation.AT_LEAST: found.value >= stated - tolerance,
        Relation.AT_MOST: found.value <= stated + tolerance,
        Relation.ABOVE: found.low > stated,
        Relation.BELOW: found.high < stated,
    }[claim.relation]


def _grows_as_printed(answer: Answer) -> bool:
    assert answer.formula_exponent is not None
    return abs(answer.estimate.value - answer.formula_exponent) <= _EXPONENT_TOLERANCE


def _explained(claim: Claim, reason: Reason, outcomes: Mapping[Check, Found]) -> str:
    """Return a reason with the figure that it gives, if that is the one printed to 1 %; empty if not."""
    outcome = outcomes.get(reason.check)
    if not isinstance(outcome, Answer) or isinstance(claim.value, str):
        return ""
    found, stated = _in_unit(claim, outcome).value, float(claim.value)
    near = holds(claim, reason.check, outcome) or abs(found - stated) <= _TOLERANCE * abs(stated)
    return f"{reason.says}, which gives {found:.4g} {claim.unit}".rstrip() if near else ""


def _in_unit(claim: Claim, answer: Answer) -> Estimate:
    found, check = answer.estimate, claim.check
    if check is not None and (check.formula or check.take is Take.EXPONENT):
        return found
    unit = UNITS[claim.unit]
    more = 1.0 if claim.unit == "%" and check is not None and not learned(check) else 0.0
    return Estimate(value=(found.value - more) / unit, low=(found.low - more) / unit, high=(found.high - more) / unit)
