"""Untouched copies of a cell's layer, built as they are needed, and what they give for the values of a timed call."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnbench.axes import INT8
from attnbench.models import subject
from attnbench.models.untouched import Untouched
from attnbench.probes import agreement, compilation, memory, steps
from attnbench.probes.agreement import Errors
from attnbench.record import Cell, Mode
from attnbench.worker import exporting, torch_state
from attnbench.worker.witness import Testimony, observed, weights


@dataclass(slots=True, kw_only=True, eq=False)
class Copies:
    """The copies of one cell."""

    cell: Cell
    seed: int
    why_inexact: str = ""
    """Why there is no exact copy, once it was tried in vain."""
    running_s: float = 0.0
    """Time that their calls have taken."""
    _plain: Untouched | None = None
    _exact: Untouched | None = None
    _quantized: Callable[[Tensor], Any] | None = None
    _latest: tuple[Testimony, dict[str, Tensor]] | None = None
    """The call that the plain copy was asked for last, and what it gave."""

    @property
    def own_type(self) -> torch.dtype:
        """The type that the cell's products are timed in."""
        return subject.DTYPES[self.cell.products]

    @property
    def exact_type(self) -> torch.dtype:
        """The type that is exact beside it."""
        return agreement.EXACT[self.own_type]

    @property
    def tight(self) -> float:
        """How far apart rounding may bring two results, of the largest value."""
        if self.cell.dtype == INT8:  # a value that falls into the next of 256 steps
            return agreement.TIGHT[torch.bfloat16]
        return agreement.TIGHT[self.own_type]

    def build(self, *, exact: torch.dtype | None = None) -> Untouched:
        """Build a copy; what its constructor sets for everyone is put back, as it is before the timing."""
        with torch_state.restored(seed_included=False):
            return Untouched(subject.of(self.cell), seed=self.seed, exact=exact)

    def ready(self) -> Untouched:
        """Return the copy of the cell's own type, built if it is not yet."""
        self._plain = self._plain or self.build()
        return self._plain

    def plainly(self, kept: Testimony) -> dict[str, Tensor]:
        """Return what the copy of the cell's own type gives."""
        if self._latest is None or self._latest[0] is not kept:
            copy = self.ready()
            self._latest = kept, self.run(copy, kept, forward=self._as_quantized(copy))
        return self._latest[1]

    def _as_quantized(self, copy: Untouched) -> Callable[[Tensor], Any] | None:
        """Return a copy quantised as the cell is, once more; None where it is not."""
        if self.cell.dtype == INT8 and self._quantized is None:
            self._quantized = copy.taken_over(exporting.taken_over)
        return self._quantized

    def exactly(self, kept: Testimony) -> dict[str, Tensor] | None:
        """Return what the exact copy gives; None where there is none."""
        if self.cell.dtype == INT8:
            self.why_inexact = "with another quantisation; int8_snr_db is how far that is from float32"
            return None
        try:
            self._exact = self._exact or self.build(exact=self.exact_type)
            return self.run(self._exact, kept)
        except Exception as error:  # not every kernel has the type
            self._exact = None
            said = "out of memory" if memory.ran_out(error) else f"{type(error).__name__}: {error}"
            self.why_inexact = f"not in {str(self.exact_type).removeprefix('torch.')}: {' '.join(said.split())[:120]}"
            return None

    def run(
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
        started = time.perf_counter()
        returned = copy.run(kept.number if seed is None else seed, forward=forward, within=within)
        self.running_s += time.perf_counter() - started
        training = self.cell.mode is Mode.TRAIN
        found = observed(copy.model, copy.given, returned, picks=kept.picks, training=training)
        return found | observed(copy.model, before, (), picks=kept.picks, training=False)

    def draws(self, kept: Testimony) -> bool:
        """Return whether the copy draws random numbers: it gives another answer with other seeds."""
        assert self._plain is not None, "compared before"
        first, other = self.run(self._plain, kept), self.run(self._plain, kept, seed=kept.number ^ 1)
        return bool(agreement.beyond(agreement.errors(other, first), None, self.tight))

    def compiled(self, kept: Testimony) -> dict[str, Tensor]:
        """Return what a compiled copy gives: compiled code draws other random numbers for a seed."""
        copy = self.build()
        return self.run(copy, kept, forward=compilation.isolated(copy.model))

    def why_unlike_itself(self, kept: Testimony, *, tight: float) -> str:
        """Return why a copy is no measure of the layer: another copy, or the same one again, is another layer."""
        another = self.build()
        assert self._plain is not None, "compared before"
        built = agreement.errors(weights(another.model, kept.picks), weights(self._plain.model, kept.picks))
        if agreement.beyond(built, None, tight):
            return "its constructor gives other weights for the same seed"
        first, second = self.run(another, kept), self.run(another, kept)
        if agreement.beyond(agreement.errors(second, first), None, tight):
            return "it gives another answer each time for the same values and seeds"
        return ""

    def swing(self, kept: Testimony, exact: dict[str, Tensor], *, seed: int = 0) -> Errors:
        """Return how far the exact result moves when input, weights and all between are rounded another way.

        Rounded as the layer's own type rounds, in training the gradients too; a seed decides which way. The exact copy
        has other weights then.
        """
        copy, self._exact = self._exact or self.build(exact=self.exact_type), None
        copy.fill(kept.number)
        returned = steps.rounded_otherwise(
            copy.model,
            copy.given.data,
            lambda within: copy.run(kept.number, within=within),
            rounding=torch.finfo(self.own_type).eps / 2,
            seed=seed,
        )
        training = self.cell.mode is Mode.TRAIN
        moved = observed(copy.model, copy.given, returned, picks=kept.picks, training=training)
        return agreement.errors(moved, {name: each for name, each in exact.items() if name in moved})

    def weights(self, picks: int) -> dict[str, Tensor] | None:
        """Return weights of a copy that has made calls of its own; None if none has."""
        copy = self._plain or self._exact
        return None if copy is None else weights(copy.model, picks)
