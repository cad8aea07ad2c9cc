"""What timed calls are given and what is kept of them: new values each, any of them as likely, nothing put off."""

from __future__ import annotations

import math

import pytest
import torch
from witnessed import HONEST, cell_of, make_calls, ready

from attnbench.models import calls
from attnbench.record import Mode
from attnbench.worker import witness
from attnbench.worker.witness import KEPT, Evidence, Witness, observed


def test_each_call_gets_values_and_seeds_that_none_had_before(tmp_path):
    one, seen, seeds = ready(cell_of("mhsa")), [], []

    def look(one):
        seen.append(one.x.clone())
        seeds.append(torch.initial_seed())

    make_calls(one, tmp_path / "evidence", calls=5, before=look)
    assert len(set(seeds)) == 5
    for index, values in enumerate(seen):
        assert not any(torch.equal(values, other) for other in seen[:index])


def test_the_number_of_a_call_gives_its_values_again(tmp_path):
    cell, seen = cell_of("mhsa"), []
    evidence = make_calls(ready(cell), tmp_path / "evidence", calls=3, before=lambda one: seen.append(one.x.clone()))
    again = ready(cell)
    for kept in evidence.kept:
        calls.values(cell, again.x).fill(kept.number)
        assert torch.equal(again.x, seen[kept.call - 1])


def test_the_first_are_kept_and_each_later_one_takes_a_place_by_lot(monkeypatch, tmp_path):
    asked = []

    def lot(calls):
        asked.append(calls)
        return {6: 2, 7: 5, 8: 0}[calls]

    monkeypatch.setattr(witness.secrets, "randbelow", lot)
    evidence = make_calls(ready(cell_of("mhsa")), tmp_path / "evidence", calls=8)
    assert asked == [6, 7, 8]
    assert [kept.call for kept in evidence.kept] == [8, 2, 6, 4, 5]
    assert (evidence.calls, KEPT) == (8, 5)


@pytest.mark.parametrize("mode", Mode)
def test_what_is_written_is_what_is_read(mode, tmp_path):
    one = ready(cell_of("mhsa", mode=mode))
    evidence = make_calls(one, tmp_path / "evidence", calls=2)
    names = set(evidence.kept[0].tensors)
    parameters = [name for name, _ in one.model.named_parameters()]
    gradients = {"gradient of the input", *(f"gradient of {name}" for name in parameters)}
    assert names == {"output 0", "input"} | (gradients if mode is Mode.TRAIN else set())
    assert set(evidence.weights) == set(parameters)
    last = evidence.kept[-1]
    expected = observed(one.model, one.x, one.call(), picks=last.picks, training=mode is Mode.TRAIN)
    assert torch.allclose(last.tensors["output 0"], expected["output 0"])
    assert torch.equal(last.tensors["input"], expected["input"])


def test_a_step_is_kept_with_the_buffers_that_it_found_and_that_steps_have_changed(tmp_path):
    one, found = ready(cell_of(f"{HONEST}:FollowsAMean", mode=Mode.TRAIN)), []
    mean = dict(one.model.named_buffers())["layers.0.layer.mean"]
    evidence = make_calls(one, tmp_path / "evidence", calls=3, before=lambda _: found.append(mean.clone()))
    assert evidence.kept[0].buffers == {}
    for kept in evidence.kept[1:]:
        assert torch.equal(kept.buffers["layers.0.layer.mean"], found[kept.call - 1])


@pytest.mark.parametrize(("kind", "mode"), [("NormsBatches", Mode.INFER), ("CachesAMask", Mode.TRAIN)])
def test_buffers_that_nothing_changes_are_not_kept(kind, mode, tmp_path):
    evidence = make_calls(ready(cell_of(f"{HONEST}:{kind}", mode=mode)), tmp_path / "evidence", calls=3)
    assert [kept.buffers for kept in evidence.kept] == [{}, {}, {}]


class Lazy(torch.Tensor):
    """Stands for a tensor that is worked out when somebody looks."""


@pytest.mark.parametrize("returned", [Lazy(), [torch.ones(2), Lazy()], "text", {"a": torch.ones(1)}])
def test_what_is_no_plain_tensor_is_no_result(returned):
    one = ready(cell_of("mhsa"))
    beside = Witness(one)
    beside._returned = returned
    beside.testify()
    (objection,) = beside.objections
    assert objection.sure
    assert "and no plain tensor" in objection.said
    assert beside._kept == []


def test_of_a_large_tensor_elements_are_kept_the_same_for_the_same_picks():
    model, large = torch.nn.Identity(), torch.arange(2.0**20)
    one, same, other = (
        observed(model, torch.ones(1), large, picks=picks, training=False)["output 0"] for picks in (5, 5, 6)
    )
    assert len(one) == 2**16
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_complex_numbers_are_kept_as_pairs():
    found = observed(torch.nn.Identity(), torch.ones(1), torch.tensor([1 + 2j]), picks=0, training=False)
    assert found["output 0"].tolist() == [1.0, 2.0]


def test_what_was_kept_stays_when_the_call_writes_over_it():
    y = torch.ones(3)
    found = observed(torch.nn.Identity(), y, y, picks=0, training=False)
    y.fill_(math.nan)
    assert found["output 0"].tolist() == found["input"].tolist() == [1.0, 1.0, 1.0]


def test_without_room_nothing_is_written_and_that_is_found_when_it_is_read(tmp_path):
    nowhere = tmp_path / "gone" / "evidence"
    Witness(ready(cell_of("mhsa"))).write(nowhere)
    with pytest.raises(OSError, match="gone"):
        Evidence.read(nowhere)
