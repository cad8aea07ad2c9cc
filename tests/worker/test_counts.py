"""Which of three counts of multiply-adds a row goes by."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from attnbench.mechanism import Macs, Mechanism
from attnbench.models import subject
from attnbench.probes.flops import Counts
from attnbench.record import Cell, Scope
from attnbench.worker import counts

CLOSED = (100, Macs(projections=60, attention=40))


@pytest.mark.parametrize(
    ("counted", "macs"),
    [
        (Counts(macs_torch=100, macs_fvcore=100, macs_attention=40), (100, 40)),
        (Counts(macs_torch=200, macs_fvcore=200, macs_attention=80), (200, 80)),
        (Counts(macs_torch=200, macs_fvcore=150, macs_attention=80), (100, 40)),
        (Counts(macs_torch=60, macs_fvcore=60, macs_attention=0, uncounted=("mine::fused",)), (100, 40)),
        (Counts(macs_torch=200, macs_fvcore=None, macs_attention=80), (100, 40)),
        (Counts(macs_torch=0, macs_fvcore=0, macs_attention=0), (100, 40)),
    ],
    ids=["all agree", "both counters against it", "counters disagree", "work left out", "one counter", "no counter"],
)
def test_a_closed_form_counts_unless_both_counters_know_better(counted: Counts, macs: tuple[int, int]) -> None:
    assert counts.multiply_adds(CLOSED, counted) == macs


def test_without_a_closed_form_torch_counts() -> None:
    assert counts.multiply_adds(None, Counts(macs_torch=7, macs_fvcore=None, macs_attention=3)) == (7, 3)


def test_a_mechanism_with_a_wrong_formula_has_the_right_figure_in_its_row() -> None:
    class Twice(Mechanism):
        def __init__(self, site):
            super().__init__(site)
            self.proj = nn.Linear(site.dim, site.dim)

        def forward(self, x):
            return self.proj(x)

        @classmethod
        def macs(cls, site):
            return Macs(projections=2 * site.tokens * site.dim**2, attention=0)

    cell = Cell(mechanism="twice", scope=Scope.LAYER, height=64, width=64, stage=3, dim=8, heads=2, depth=1)
    found = counts.count(subject.MechanismSubject(cell=cell, mechanism=Twice))
    assert found["macs"] == found["macs_torch"] == found["macs_fvcore"] == 16 * 8**2
    assert found["macs_closed"] == 2 * 16 * 8**2


def test_a_kernel_that_cannot_run_without_data_leaves_the_least_bytes_of_what_is_known() -> None:
    class Foreign(nn.Module):
        def forward(self, x):
            raise ValueError("Pointer argument (at 0) cannot be accessed from Triton (cpu tensor?)")

    assert counts._output_bytes(Foreign(), torch.empty(1, device="meta")) == 0


@pytest.mark.parametrize("wrong", [-5, 0.5, 2.0, None])
def test_multiply_adds_are_whole_numbers_from_nought(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"Macs.attention is .*; multiply-adds are whole numbers from 0"):
        Macs(projections=1, attention=wrong)


@pytest.mark.parametrize(
    ("closed", "macs", "counted", "said"),
    [
        (None, 100, {}, ""),
        (100, 100, {}, ""),
        (99, 99, {}, ""),
        (50, 50, {}, "the closed form says 50, 50% less than torch counts, 100"),
        (50, 100, {}, ""),  # both counters know better, and the row goes by them
        (200, 200, {}, ""),
        (None, 100, {"aten.cumsum": 1.0}, ""),
        (None, 100, {"aten.cumsum": 2.0}, "they leave out aten.cumsum, worth some 2"),
        (None, 100, {"a": 0.6, "b": 0.7}, "they leave out b, worth some 1, a, worth some 1"),
        (None, 0, {"a": 7.0}, "they leave out a, worth some 7"),
        (200, 200, {"mine.attend": math.inf}, "mine.attend may do any amount of work"),
        (None, None, {"mine.attend": math.inf}, ""),
    ],
)
def test_what_speaks_against_the_multiply_adds_is_said(closed, macs, counted, said: str) -> None:
    found = Counts(macs_torch=100, macs_fvcore=100, macs_attention=0, unseen=counted)
    assert counts.doubt(closed, macs, found) == said
