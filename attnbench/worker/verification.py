"""Whether what timed calls returned is what their layer computes: against an untouched copy, and against an exact one.

One run of the exact copy (float64 beside float32, float32 beside half types) says both whether a call's output is the
layer's own and whether it is as precise as its type. Only where they are further apart than rounding needs to bring
them is the copy run in the layer's own type, whose distance from the exact one says how much rounding there is.
Where precision need not be looked at in every cell, the exact copy is run only if it costs little; else the copy of
the layer's own type is enough.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from attnbench import runtimes
from attnbench.probes import agreement
from attnbench.probes.agreement import Errors
from attnbench.probes.steps import Steps
from attnbench.record import Cell
from attnbench.worker.aspects import listed
from attnbench.worker.copies import Copies
from attnbench.worker.objection import BESIDE, Objection
from attnbench.worker.witness import Evidence, Testimony

_SHARE, _LEAST_S = 0.05, 1.0
"""Time for calls after the first, as a share of what the cell has taken, and what is spent in any case; half of it
where precision need not be looked at."""
_EXACT = 2.0
"""How many times as long a call of the exact copy takes as a timed one: its values are twice as wide."""
_SWINGS = 8.0
"""How many times as far as rounding every step once moves it a result may be that other kernels than the copy's have
rounded: a choice among nearly equal ones falls another way then, and gradients of a few values' norms lose digits."""
_WAYS = 4
"""Of rounding every step, that are tried before a result is further away than any brings it."""
_BY_ROUNDING = "as far apart as rounding every step brings it"
_SURE = 1024.0
"""As ``agreement.NOISE``, of a layer that cannot be of float32: values of 11 bits move a result 2^13 times as far, of
8 bits 2^16 times, and a few times less where they are summed or where some operators keep all bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What verifying a cell came to."""

    said: str
    """How many calls were compared and with what, or why none."""
    objections: tuple[Objection, ...] = ()
    running_s: float = 0.0
    """Time that the calls of copies took."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Judge:
    """One cell, and the copies of it as they are needed."""

    cell: Cell
    copies: Copies
    evidence: Evidence
    taken_s: float
    """What the cell's calls have taken so far."""
    shown_by: str
    call_s: float
    """What a timed call of it took."""
    exacting: bool
    """Whether the exact copy is run whatever it costs."""
    objections: list[Objection] = field(default_factory=list)
    compared: int = 0
    precise: bool = False
    remark: str = ""
    _swung: bool = False
    """Whether a call was as far from the copy as only rounding every step brings it."""
    _alike: bool = False
    """Whether copies are known to be alike."""

    @property
    def budget_s(self) -> float:
        """Time for what need not be done."""
        return max(_LEAST_S, _SHARE * self.taken_s) * (1 if self.exacting else 0.5)

    def judge(self) -> Verification:
        started = time.monotonic()
        for kept in self.evidence.kept:
            before = time.monotonic()
            self._compare(kept)
            now = time.monotonic()
            if self.objections or now - started + (now - before) > self.budget_s:
                break
        if not self.objections:
            self._weigh()
        return Verification(said=self._said(), objections=tuple(self.objections), running_s=self.copies.running_s)

    def _said(self) -> str:
        if self.objections and not self.remark:
            return f"{self.compared} of {self.evidence.calls} before the one that is objected to"
        if not self.compared:
            return f"none: {self.remark or 'no call was kept'}"
        beside = f", {str(self.copies.exact_type).removeprefix('torch.')}{BESIDE}" if self.precise else ""
        remark = self.remark or (_BY_ROUNDING if self._swung else "")
        return f"{self.compared} of {self.evidence.calls}{beside}" + (f"; {remark}" if remark else "")

    @property
    def _rounds_otherwise(self) -> bool:
        """Whether what is timed has other kernels than the copy, whose roundings are others, too."""
        return self.cell.compiled or self.cell.runtime != runtimes.TORCH

    def _exactly(self, kept: Testimony) -> dict[str, Tensor] | None:
        """Return what the exact copy gives; None where there is none, or nothing more to learn from it."""
        if self.compared or self.remark:  # one call says how precise all are
            return None
        exact = self.copies.exactly(kept)
        if exact is None:
            self.remark = self.copies.why_inexact
        return exact

    def _plain_is_enough(self, kept: Testimony) -> bool:
        """Return whether the copy of its own type agrees, and the exact one need not be run and would cost much."""
        if self.exacting or self.compared or _EXACT * self.call_s <= self.budget_s:
            return False
        apart = agreement.errors(kept.tensors, self.copies.plainly(kept))
        if apart["input"] > 0 or agreement.beyond(apart, None, self.copies.tight):
            return False
        self.compared += 1
        return True

    def _compare(self, kept: Testimony) -> None:
        tight = self.copies.tight
        if self._plain_is_enough(kept):
            return
        exact = self._exactly(kept)
        if exact is not None:
            self.precise = True
            off = agreement.errors(kept.tensors, exact)
            if self._input_changed(off):
                return
            if not agreement.beyond(off, None, tight):
                self.compared += 1
                return
        plain = self.copies.plainly(kept)
        apart = agreement.errors(kept.tensors, plain)
        if self._input_changed(apart):
            return
        if agreement.beyond(apart, None, tight) and self.cell.compiled and self.copies.draws(kept):
            apart = agreement.errors(kept.tensors, self.copies.compiled(kept))
        if exact is None:
            wrong = agreement.beyond(apart, None, tight)
            exact = self.copies.exactly(kept) if wrong and self._rounds_otherwise else None
            if exact is None:
                self._conclude(kept, wrong, None)
                return
        self._weigh_rounding(kept, plain, apart, exact)

    def _weigh_rounding(
        self, kept: Testimony, plain: dict[str, Tensor], apart: Errors, exact: dict[str, Tensor]
    ) -> None:
        """Conclude from how far call, copy and exact copy are from each other, where two are further than is usual."""
        tight, off = self.copies.tight, agreement.errors(kept.tensors, exact)
        own = agreement.errors(plain, exact)
        if self._unlike_itself(kept, apart, own):
            return
        # A layer that draws is drawn other numbers in another type: how far its copies are apart is no rounding.
        rounding = None if self._varies(apart, own) and self.copies.draws(kept) else own
        wrong = agreement.beyond(apart, rounding, tight)
        wrong = {name: off[name] for name in wrong if name in agreement.beyond(off, rounding, tight)}
        if wrong and self._rounds_otherwise:
            wrong = self._beyond_swings(kept, wrong, exact)
            self._swung = self._swung or not wrong
        self._conclude(kept, wrong, own)
        if not wrong and self.copies.own_type is torch.float32:
            self._question_precision(kept, own, exact)

    def _beyond_swings(self, kept: Testimony, wrong: Errors, exact: dict[str, Tensor]) -> Errors:
        """Return what is further away than rounding every step brings it, the one way or another.

        Where a layer chooses among nearly equal values, one way of rounding may change no choice and the next one many.
        """
        for seed in range(_WAYS):
            swing = self.copies.swing(kept, exact, seed=seed)
            wrong = {name: error for name, error in wrong.items() if error > _SWINGS * swing.get(name, 0.0)}
            if not wrong:
                break
        return wrong

    def _conclude(self, kept: Testimony, wrong: Errors, own: Errors | None) -> None:
        if not wrong:
            self.compared += 1
        elif not self._is_state(kept, own):
            self._explain(kept, wrong, own)

    def _varies(self, apart: Errors, own: Errors) -> bool:
        """Return whether a call is as far from the copy as only copies are that are far apart themselves."""
        tight = self.copies.tight
        return bool(agreement.beyond(apart, None, tight)) and agreement.worst(own)[1] > agreement.FACTOR * tight

    def _is_state(self, kept: Testimony, own: Errors | None) -> bool:
        """Return whether a training step is right for the buffers that it found, and does all that a first one does.

        Spectral norms and running means follow from the steps before, of which a copy has made none. A layer that does
        less once it has counted its calls does so by other operators.
        """
        if not kept.buffers or (self.cell.compiled and self.copies.draws(kept)):
            return False
        fresh, copy = self.copies.build(), self.copies.build()
        copy.find(kept.buffers)
        first, later = Steps(), Steps()
        self.copies.run(fresh, kept, within=first)
        found = self.copies.run(copy, kept, within=later)
        apart = agreement.errors(kept.tensors, found)
        if first.taken != later.taken or agreement.beyond(apart, own, self.copies.tight):
            return False
        self.compared += 1
        self.precise = False
        self.remark = f"with what it found in its buffers: {listed(list(kept.buffers), 3)}"
        return True

    def _input_changed(self, apart: Errors) -> bool:
        if apart.pop("input") > 0:
            self._object("a timed call has changed its input: the next call would be given what it left", sure=True)
            return True
        return False

    def _unlike_itself(self, kept: Testimony, apart: Errors, own: Errors) -> bool:
        """Say so if copies are far apart, and a call may be as far, because the layer is no two times alike."""
        if self._alike or not self._varies(apart, own) or agreement.beyond(apart, own, 0.0):
            return False
        self.remark = self.copies.why_unlike_itself(kept, tight=agreement.FACTOR * self.copies.tight)
        self._alike = not self.remark
        if self.remark:
            self._object(f"its timed calls cannot be verified: {self.remark}", sure=False)
        return bool(self.remark)

    def _explain(self, kept: Testimony, wrong: Errors, own: Errors | None) -> None:
        """Say what a call is that is further from the copy than rounding."""
        why = self.copies.why_unlike_itself(kept, tight=self.copies.tight)
        if not why and self.cell.runtime != runtimes.TORCH and self.copies.draws(kept):
            why = f"it draws random numbers, and {self.cell.runtime} draws others"
        if why:
            self.remark = why
            self._object(f"its timed calls cannot be verified: {why}", sure=False)
            return
        name, error = agreement.worst(wrong)
        allowed = max(self.copies.tight, agreement.FACTOR * (own or {}).get(name, 0.0))
        figures = f"{error:.2g} of the largest value apart, where {self.cell.dtype} allows {allowed:.1g}"
        what = "another answer than the layer's for the same values"
        if error < 0.02 and self.copies.own_type is torch.float32:
            what = f"the layer's answer to {agreement.digits(error)} digits only: less precise inside than it says"
        self._object(f"timed call {kept.call} of {self.evidence.calls} gave {what}: its {name} is {figures}", sure=True)

    def _question_precision(self, kept: Testimony, own: Errors, exact: dict[str, Tensor] | None) -> None:
        """Judge a copy that is further from float64 than usual: does the layer round so much, or is it less precise?"""
        name, error = agreement.worst(own)
        if error < agreement.HALF or exact is None or name.startswith("gradient") or self.copies.draws(kept):
            return
        swing = self.copies.swing(kept, exact)[name]
        if (
            error <= agreement.NOISE * swing or agreement.NOISE * swing >= 1
        ):  # or rounding alone may leave no digit at all
            self.remark = f"{agreement.digits(error)} digits of float64, as few as rounding leaves"
            return
        self._object(
            f"float32 agrees with float64 to {agreement.digits(error)} digits only ({error:.2g} of the largest value; "
            f"rounding every step changes {swing:.1g}): half precision or TF32 inside",
            sure=error > _SURE * swing,
        )

    def _weigh(self) -> None:
        """See that the weights are still those of the copy, which has made calls of its own."""
        copied = self.copies.weights(self.evidence.picks)
        if copied is None:
            return
        apart = agreement.errors(self.evidence.weights, copied)
        changed = agreement.beyond(apart, None, self.copies.tight)
        if changed:
            name, error = agreement.worst(changed)
            self._object(f"its timed calls have changed its weights: {name} by {error:.2g} of the largest", sure=True)

    def _object(self, said: str, *, sure: bool) -> None:
        self.objections.append(Objection(said=said, sure=sure, shown_by=self.shown_by if sure else ""))


def verify(
    cell: Cell,
    evidence: Evidence,
    *,
    seed: int,
    taken_s: float,
    shown_by: str,
    call_s: float = 0.0,
    exacting: bool = True,
) -> Verification:
    """Compare what timed calls of a cell returned with what an untouched copy gives for the same values.

    Args:
        cell: the cell.
        evidence: what was kept of its calls.
        seed: of its weights.
        taken_s: what its calls have taken so far: verifying them takes a small part of that.
        shown_by: a command that shows a fault again.
        call_s: what one of them took.
        exacting: whether its precision is looked at whatever that costs.
    """
    judge = _Judge(
        cell=cell,
        copies=Copies(cell=cell, seed=seed),
        evidence=evidence,
        taken_s=taken_s,
        shown_by=shown_by,
        call_s=call_s,
        exacting=exacting,
    )
    return judge.judge()
