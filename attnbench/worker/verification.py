"""Whether what timed calls returned is what their layer computes: against an untouched copy, and against an exact one.

One run of the exact copy (float64 beside float32, float32 beside half types) says both whether a call's output is the
layer's own and whether it is as precise as its type. Only where they are further apart than rounding needs to bring
them is the copy run in the layer's own type, whose distance from the exact one says how much rounding there is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from attnbench.models import subject
from attnbench.models.untouched import Untouched
from attnbench.probes import agreement, compilation, memory
from attnbench.probes.agreement import Errors
from attnbench.probes.steps import Jitter, Steps
from attnbench.record import Cell, Mode
from attnbench.worker import torch_state
from attnbench.worker.aspects import listed
from attnbench.worker.objection import Objection
from attnbench.worker.witness import Evidence, Testimony, observed, weights

_SHARE, _LEAST_S = 0.05, 1.0
"""Time for calls after the first, as a share of what the cell has taken, and what is spent in any case."""
_HALF = 2.0**-15
"""Errors that products of TF32 and half types may have: their values are rounded to 11 bits or fewer, 2^-12 of each at
most, and where many are summed the errors cancel in part."""
_NOISE = 64.0
"""How many times as far as float32 a layer may be from float64 as rounding every operator once moves its result: sums
round more than once."""
_SURE = 1024.0
"""The same, of a layer that cannot be of float32: values of 11 bits move a result 2^13 times as far, of 8 bits 2^16
times, and a few times less where they are summed or where some operators keep all bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What verifying a cell came to."""

    said: str
    """How many calls were compared and with what, or why none."""
    objections: tuple[Objection, ...] = ()


@dataclass(slots=True, kw_only=True, eq=False)
class _Judge:
    """One cell, and the copies of it as they are needed."""

    cell: Cell
    seed: int
    evidence: Evidence
    taken_s: float
    """What the cell's calls have taken so far."""
    shown_by: str
    objections: list[Objection] = field(default_factory=list)
    compared: int = 0
    precise: bool = False
    remark: str = ""
    _alike: bool = False
    """Whether copies are known to be alike."""
    _plain: Untouched | None = None
    _exact: Untouched | None = None

    def judge(self) -> Verification:
        started = time.monotonic()
        budget_s = max(_LEAST_S, _SHARE * self.taken_s)
        for kept in self.evidence.kept:
            before = time.monotonic()
            self._compare(kept)
            now = time.monotonic()
            if self.objections or now - started + (now - before) > budget_s:
                break
        if not self.objections:
            self._weigh()
        return Verification(said=self._said(), objections=tuple(self.objections))

    def _said(self) -> str:
        if self.objections and not self.remark:
            return f"{self.compared} of {self.evidence.calls} before the one that is objected to"
        if not self.compared:
            return f"none: {self.remark or 'no call was kept'}"
        beside = f", {str(self._exact_type).removeprefix('torch.')} beside" if self.precise else ""
        return f"{self.compared} of {self.evidence.calls}{beside}" + (f"; {self.remark}" if self.remark else "")

    # The copies

    @property
    def _own_type(self) -> torch.dtype:
        return subject.DTYPES[self.cell.dtype]

    @property
    def _exact_type(self) -> torch.dtype:
        return agreement.EXACT[self._own_type]

    def _copy(self, *, exact: torch.dtype | None = None) -> Untouched:
        """Build a copy; what its constructor sets for everyone is put back, as it is before the timing."""
        with torch_state.restored(seed_included=False):
            return Untouched(subject.of(self.cell), seed=self.seed, exact=exact)

    def _plainly(self, kept: Testimony) -> dict[str, Tensor]:
        if self._plain is None:
            self._plain = self._copy()
        return self._observed(self._plain, kept)

    def _exactly(self, kept: Testimony) -> dict[str, Tensor] | None:
        """Return what the exact copy gives; None where there is none."""
        if self.compared or self.remark:  # one call says how precise all are
            return None
        try:
            self._exact = self._exact or self._copy(exact=self._exact_type)
            return self._observed(self._exact, kept)
        except Exception as error:  # not every kernel has the type
            self._exact = None
            said = "out of memory" if memory.ran_out(error) else f"{type(error).__name__}: {error}"
            self.remark = f"not in {str(self._exact_type).removeprefix('torch.')}: {' '.join(said.split())[:120]}"
            return None

    def _observed(
        self,
        copy: Untouched,
        kept: Testimony,
        *,
        seed: int | None = None,
        forward: Callable[[Tensor], Any] | None = None,
        within: AbstractContextManager[object] | None = None,
    ) -> dict[str, Tensor]:
        """Return what a copy gives for the values of a call, and the input as it was before."""
        copy.fill(kept.number)
        before = copy.x.detach().clone()
        returned = copy.run(kept.number if seed is None else seed, forward=forward, within=within)
        training = self.cell.mode is Mode.TRAIN
        found = observed(copy.model, copy.given, returned, picks=kept.picks, training=training)
        return found | observed(copy.model, before, (), picks=kept.picks, training=False)

    # The comparisons

    def _compare(self, kept: Testimony) -> None:
        tight = agreement.TIGHT[self._own_type]
        exact = self._exactly(kept)
        if exact is not None:
            self.precise = True
            off = agreement.errors(kept.tensors, exact)
            if self._input_changed(off):
                return
            if not agreement.beyond(off, None, tight):
                self.compared += 1
                return
        plain = self._plainly(kept)
        apart = agreement.errors(kept.tensors, plain)
        if self._input_changed(apart):
            return
        if agreement.beyond(apart, None, tight) and self.cell.compiled and self._draws(kept):
            apart = agreement.errors(kept.tensors, self._compiled(kept))
        if exact is None:
            self._conclude(kept, agreement.beyond(apart, None, tight), None)
            return
        own = agreement.errors(plain, exact)
        if self._unlike_itself(kept, apart, own):
            return
        # A layer that draws is drawn other numbers in another type: how far its copies are apart is no rounding.
        rounding = None if self._varies(apart, own) and self._draws(kept) else own
        wrong = agreement.beyond(apart, rounding, tight)
        wrong = {name: off[name] for name in wrong if name in agreement.beyond(off, rounding, tight)}
        self._conclude(kept, wrong, own)
        if not wrong and self._own_type is torch.float32:
            self._question_precision(kept, own, exact)

    def _conclude(self, kept: Testimony, wrong: Errors, own: Errors | None) -> None:
        if not wrong:
            self.compared += 1
        elif not self._is_state(kept, own):
            self._explain(kept, wrong, own)

    def _varies(self, apart: Errors, own: Errors) -> bool:
        """Return whether a call is as far from the copy as only copies are that are far apart themselves."""
        tight = agreement.TIGHT[self._own_type]
        return bool(agreement.beyond(apart, None, tight)) and agreement.worst(own)[1] > agreement.FACTOR * tight

    def _draws(self, kept: Testimony) -> bool:
        """Return whether the copy draws random numbers: it gives another answer with other seeds."""
        assert self._plain is not None, "compared before"
        first, other = self._observed(self._plain, kept), self._observed(self._plain, kept, seed=kept.number ^ 1)
        return bool(agreement.beyond(agreement.errors(other, first), None, agreement.TIGHT[self._own_type]))

    def _compiled(self, kept: Testimony) -> dict[str, Tensor]:
        """Return what a compiled copy gives: compiled code draws other random numbers for a seed."""
        copy = self._copy()
        return self._observed(copy, kept, forward=compilation.isolated(copy.model))

    def _is_state(self, kept: Testimony, own: Errors | None) -> bool:
        """Return whether a training step is right for the buffers that it found, and does all that a first one does.

        Spectral norms and running means follow from the steps before, of which a copy has made none. A layer that does
        less once it has counted its calls does so by other operators.
        """
        if not kept.buffers or (self.cell.compiled and self._draws(kept)):
            return False
        fresh, copy = self._copy(), self._copy()
        copy.find(kept.buffers)
        first, later = Steps(), Steps()
        self._observed(fresh, kept, within=first)
        found = self._observed(copy, kept, within=later)
        apart = agreement.errors(kept.tensors, found)
        if first.taken != later.taken or agreement.beyond(apart, own, agreement.TIGHT[self._own_type]):
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
        self.remark = self._why_unlike_itself(kept, tight=agreement.FACTOR * agreement.TIGHT[self._own_type])
        self._alike = not self.remark
        if self.remark:
            self._object(f"its timed calls cannot be verified: {self.remark}", sure=False)
        return bool(self.remark)

    def _explain(self, kept: Testimony, wrong: Errors, own: Errors | None) -> None:
        """Say what a call is that is further from the copy than rounding."""
        why = self._why_unlike_itself(kept, tight=agreement.TIGHT[self._own_type])
        if why:
            self.remark = why
            self._object(f"its timed calls cannot be verified: {why}", sure=False)
            return
        name, error = agreement.worst(wrong)
        allowed = max(agreement.TIGHT[self._own_type], agreement.FACTOR * (own or {}).get(name, 0.0))
        figures = f"{error:.2g} of the largest value apart, where {self.cell.dtype} allows {allowed:.1g}"
        what = "another answer than the layer's for the same values"
        if error < 0.02 and self._own_type is torch.float32:
            what = f"the layer's answer to {agreement.digits(error)} digits only: less precise inside than it says"
        self._object(f"timed call {kept.call} of {self.evidence.calls} gave {what}: its {name} is {figures}", sure=True)

    def _why_unlike_itself(self, kept: Testimony, *, tight: float) -> str:
        """Return why a copy is no measure of the layer: another copy, or the same one again, is another layer."""
        another = self._copy()
        assert self._plain is not None, "compared before"
        built = agreement.errors(weights(another.model, kept.picks), weights(self._plain.model, kept.picks))
        if agreement.beyond(built, None, tight):
            return "its constructor gives other weights for the same seed"
        first, second = self._observed(another, kept), self._observed(another, kept)
        if agreement.beyond(agreement.errors(second, first), None, tight):
            return "it gives another answer each time for the same values and seeds"
        return ""

    def _question_precision(self, kept: Testimony, own: Errors, exact: dict[str, Tensor] | None) -> None:
        """Judge a copy that is further from float64 than usual: does the layer round so much, or is it less precise?"""
        name, error = agreement.worst(own)
        if error < _HALF or exact is None or name.startswith("gradient") or self._draws(kept):
            return
        swing = self._swing(kept, exact)[name]
        if error <= _NOISE * swing or _NOISE * swing >= 1:  # or rounding alone may leave no digit at all
            self.remark = f"{agreement.digits(error)} digits of float64, as few as rounding leaves"
            return
        self._object(
            f"float32 agrees with float64 to {agreement.digits(error)} digits only ({error:.2g} of the largest value; "
            f"rounding every step changes {swing:.1g}): half precision or TF32 inside",
            sure=error > _SURE * swing,
        )

    def _swing(self, kept: Testimony, exact: dict[str, Tensor]) -> Errors:
        """Return how far the exact result moves when input, weights and all between are rounded another way."""
        assert self._exact is not None, "there is an exact result"
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for each in self._exact.model.parameters():
                each.mul_(1 + 2**-24 * torch.randn(each.shape, generator=generator).to(each))
        self._exact.fill(kept.number)
        given = self._exact.given
        given.data.mul_(1 + 2**-24 * torch.randn(given.shape, generator=generator).to(given))
        jitter = Jitter(given.dtype, rounding=2**-24)
        returned = self._exact.run(kept.number, within=_all(jitter, sdpa_kernel(SDPBackend.MATH)))
        moved = observed(self._exact.model, given, returned, picks=kept.picks, training=False)
        return agreement.errors(moved, {name: each for name, each in exact.items() if name in moved})

    def _weigh(self) -> None:
        """See that the weights are still those of the copy, which has made calls of its own."""
        copy = self._plain or self._exact
        if copy is None:
            return
        apart = agreement.errors(self.evidence.weights, weights(copy.model, self.evidence.picks))
        changed = agreement.beyond(apart, None, agreement.TIGHT[self._own_type])
        if changed:
            name, error = agreement.worst(changed)
            self._object(f"its timed calls have changed its weights: {name} by {error:.2g} of the largest", sure=True)

    def _object(self, said: str, *, sure: bool) -> None:
        self.objections.append(Objection(said=said, sure=sure, shown_by=self.shown_by if sure else ""))


@contextmanager
def _all(*contexts: AbstractContextManager[object]) -> Iterator[None]:
    with ExitStack() as stack:
        for each in contexts:
            stack.enter_context(each)
        yield


def verify(cell: Cell, evidence: Evidence, *, seed: int, taken_s: float, shown_by: str) -> Verification:
    """Compare what timed calls of a cell returned with what an untouched copy gives for the same values.

    Args:
        cell: the cell.
        evidence: what was kept of its calls.
        seed: of its weights.
        taken_s: what its calls have taken so far: verifying them takes a small part of that.
        shown_by: a command that shows a fault again.
    """
    return _Judge(cell=cell, seed=seed, evidence=evidence, taken_s=taken_s, shown_by=shown_by).judge()
