"""An operator that no counter knows is vouched for by another backend that is counted and gives the same answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from honest_cases import BUILT_IN
from witnessed import cell_of

from attnbench.mechanism import Macs, Mechanism
from attnbench.models import subject
from attnbench.worker import vouched
from attnbench.worker.counts import count


@torch.library.custom_op("vouched::twice", mutates_args=())
def twice(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x @ weight


@twice.register_fake
def _(x, weight):
    return torch.empty_like(x)


class Layer(Mechanism):
    """A product, in an operator of its own or in torch's."""

    def __init__(self, site, *, backend: str = "own"):
        super().__init__(site)
        self.backend = backend
        self.weight = torch.nn.Parameter(torch.randn(site.dim, site.dim))

    def forward(self, x):
        return twice(x, self.weight) if self.backend == "own" else self.plain(x)

    def plain(self, x):
        return x @ self.weight

    @classmethod
    def macs(cls, site, **options):
        return Macs(projections=site.tokens * site.dim**2, attention=0)


class OtherAnswer(Layer):
    """Its second implementation is another layer."""

    def plain(self, x):
        return 2 * (x @ self.weight)


class OtherCount(Layer):
    """Its second implementation multiplies less than its formula says."""

    def plain(self, x):
        return x * self.weight[0]


def said(mechanism, monkeypatch):
    monkeypatch.setattr("attnbench.worker.vouched.options.choices", lambda *_: ("own", "plain"))
    cell = cell_of("layer", options={"backend": "own"})
    found = count(subject.MechanismSubject(cell=cell, mechanism=mechanism))
    return found["macs_doubt"], found["uncounted_ops"]


def test_a_backend_with_the_same_products_and_the_same_answer_vouches_for_it(monkeypatch):
    assert said(Layer, monkeypatch) == (None, None)


@pytest.mark.parametrize("mechanism", [OtherAnswer, OtherCount])
def test_a_backend_that_is_another_layer_vouches_for_nothing(mechanism, monkeypatch):
    assert said(mechanism, monkeypatch) == ("vouched.twice may do any amount of work", "vouched.twice")


@pytest.mark.parametrize("name", BUILT_IN)
def test_no_built_in_is_doubted_or_leaves_out_an_operator_of_its_own(name):
    cell = cell_of(name, height=224, width=224, dim=256, heads=8)
    found = count(subject.of(cell))
    assert found["macs_doubt"] is None
    assert "attnbench" not in (found["uncounted_ops"] or "")


def test_the_built_in_that_has_its_own_operator_is_vouched_for():
    cell = cell_of("sasa", options={"backend": "lean", "window": 3})
    assert count(subject.of(cell))["macs_doubt"] is None


def test_multiply_adds_that_are_known_and_not_counted_make_up_for_what_is_missing(monkeypatch):
    known = {"elementwise products": 100.0}
    for closed, right in [(1000, True), (1050, True), (1099, True), (1150, False), (900, False)]:
        counts = SimpleNamespace(macs_torch=1000, unseen=known)
        monkeypatch.setattr(vouched.flops, "count", lambda _, counts=counts: counts)
        assert vouched._is_counted(lambda: None, closed) is right, closed


def test_work_that_nobody_knows_is_made_up_for_by_nothing(monkeypatch):
    counts = SimpleNamespace(macs_torch=1000, unseen={"vouched.twice": float("inf")})
    monkeypatch.setattr(vouched.flops, "count", lambda _: counts)
    assert not vouched._is_counted(lambda: None, 1000)
