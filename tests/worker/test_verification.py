"""What calls of a layer come to when they are verified: honest kinds, kinds that are not, and copies that are none."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from witnessed import ADVERSARIES, HONEST, cell_of, make_calls, ready, verified

from attnbench.models.untouched import Untouched
from attnbench.record import Mode
from attnbench.worker import verification

EAGER = (
    "CachesAMask", "IndexesABias", "FoldsWeights", "Autotunes", "DropsOut", "NormsBatches", "PoolsAtRandom",
    "ReadsTheGenerator", "ReturnsAView", "ReturnsItsInput", "ChannelsLast", "Checkpoints", "Routes", "Quantises",
    "SumsInOrder", "LinearStates",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _files_beside(monkeypatch):
    monkeypatch.syspath_prepend(ADVERSARIES)  # they are made of the honest one


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("kind", EAGER)
def test_what_is_honest_is_verified(kind, mode, dtype, tmp_path):
    found = verified(cell_of(f"{HONEST}:{kind}", mode=mode, dtype=dtype), tmp_path / "evidence")
    assert found.objections == ()
    beside = {"float32": "float64", "bfloat16": "float32"}[dtype]
    assert found.said == f"5 of 8, {beside} beside"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(("kind", "buffer"), [("NormsSpectra", "_u"), ("FollowsAMean", "mean")])
def test_a_step_that_follows_from_those_before_is_held_to_the_buffers_that_it_found(kind, buffer, dtype, tmp_path):
    cell = cell_of(f"{HONEST}:{kind}", mode=Mode.TRAIN, dtype=dtype)
    found = verified(cell, tmp_path / "evidence", calls=30)
    assert found.objections == ()
    if dtype == "float32":  # a half type may not tell the difference
        assert f"5 of 30; with what it found in its buffers: layers.0.layer.{buffer}" in found.said.replace(
            "qkv.parametrizations.weight.0.", ""
        )


def test_a_layer_that_does_less_once_it_has_counted_its_calls_in_a_buffer_is_rejected(tmp_path):
    cell = cell_of(f"{ADVERSARIES / 'when_timed.py'}:CountsInABuffer", mode=Mode.TRAIN)
    (objection,) = verified(cell, tmp_path / "evidence", calls=400).objections
    assert objection.sure
    assert "another answer than the layer's" in objection.said


def test_what_float32_cannot_tell_apart_is_no_half_precision(tmp_path):
    found = verified(cell_of(f"{HONEST}:TakesPowers"), tmp_path / "evidence")
    assert found.objections == ()
    assert "digits of float64, as few as rounding leaves" in found.said


def test_where_rounding_leaves_no_digit_nothing_is_said_of_precision(tmp_path):
    found = verified(cell_of(f"{HONEST}:DividesByNothing", depth=1), tmp_path / "evidence")
    assert found.objections == ()


def test_half_precision_inside_is_rejected_with_its_digits_and_the_command_that_shows_it(tmp_path):
    found = verified(cell_of(f"{ADVERSARIES / 'precision.py'}:HalfInside"), tmp_path / "evidence")
    (objection,) = found.objections
    assert objection.sure
    assert objection.shown_by == "attnbench run"
    assert re.search("float32 agrees with float64 to [23] digits only", objection.said)
    assert found.said == "1 of 8 before the one that is objected to"


@pytest.mark.parametrize("layer", ["memory.py:Shape", "put_off.py:InThread", "when_timed.py:InferenceMode"])
def test_another_answer_is_rejected_with_which_call_it_was(layer, tmp_path):
    (objection,) = verified(cell_of(ADVERSARIES / layer), tmp_path / "evidence").objections
    assert objection.sure
    assert "of 8 gave another answer than the layer's for the same values: its output 0 is" in objection.said


def test_random_numbers_of_its_own_are_named_and_no_cheat(tmp_path):
    found = verified(cell_of(f"{HONEST}:OwnGenerator"), tmp_path / "evidence")
    (objection,) = found.objections
    assert not objection.sure
    assert objection.shown_by == ""
    assert objection.said == (
        "its timed calls cannot be verified: it gives another answer each time for the same values and seeds"
    )
    assert "it gives another answer each time for the same values and seeds" in found.said


@pytest.mark.parametrize("layer", ["HidesInItsNoise", "HidesInItsDropout"])
def test_noise_that_brings_copies_apart_hides_no_other_answer(layer, tmp_path):
    found = verified(
        cell_of(f"{ADVERSARIES / 'when_timed.py'}:{layer}", mode=Mode.TRAIN), tmp_path / "evidence", calls=400
    )
    assert found.objections
    assert found.objections[0].sure is (layer == "HidesInItsDropout")


def changed(cell, path, change):
    """Return what calls come to of which every kept one was changed afterwards."""
    evidence = make_calls(ready(cell), path, calls=6)
    kept = tuple(replace(each, tensors={**each.tensors, **change(each.tensors)}) for each in evidence.kept)
    return verification.verify(cell, replace(evidence, kept=kept), seed=0, taken_s=1e6, shown_by="")


@pytest.mark.parametrize(("dtype", "allowed"), [("float32", 2**-16), ("bfloat16", 2**-6), ("float16", 2**-8)])
def test_each_type_has_its_bar(dtype, allowed, tmp_path):
    cell = cell_of("mhsa", dtype=dtype)

    def off(share):
        def change(tensors):
            moved = tensors["output 0"].double()
            moved[0] += share * moved.abs().max()
            return {"output 0": moved}

        return [each.sure for each in changed(cell, tmp_path / "evidence", change).objections]

    assert off(0.4 * allowed) == []
    assert off(8 * allowed) == [True]


def test_a_gradient_counts_as_an_output_does(tmp_path):
    def change(tensors):
        name = next(name for name in tensors if name.startswith("gradient of layers"))
        return {name: tensors[name] + 1}

    (objection,) = changed(cell_of("mhsa", mode=Mode.TRAIN), tmp_path / "evidence", change).objections
    assert objection.sure
    assert "its gradient of layers.0" in objection.said


@pytest.mark.parametrize("mode", Mode)
def test_an_input_that_was_written_to_is_found(mode, tmp_path):
    cell = cell_of("mhsa", mode=mode)
    (objection,) = changed(cell, tmp_path / "evidence", lambda all_of: {"input": all_of["input"] + 1}).objections
    assert objection.said == "a timed call has changed its input: the next call would be given what it left"


def test_weights_that_are_others_afterwards_are_found(tmp_path):
    cell = cell_of("mhsa")
    evidence = make_calls(ready(cell), tmp_path / "evidence", calls=6)
    name = next(iter(evidence.weights))
    evidence = replace(evidence, weights={**evidence.weights, name: evidence.weights[name] + 1})
    found = verification.verify(cell, evidence, seed=0, taken_s=1e6, shown_by="")
    assert [each.said.partition(":")[0] for each in found.objections] == ["its timed calls have changed its weights"]


def test_without_a_call_nothing_is_verified_and_the_row_says_so(tmp_path):
    cell = cell_of("mhsa")
    evidence = make_calls(ready(cell), tmp_path / "evidence", calls=0)
    found = verification.verify(cell, evidence, seed=0, taken_s=0.0, shown_by="")
    assert (found.said, found.objections) == ("none: no call was kept", ())


def test_where_no_kernel_has_the_exact_type_the_layer_is_compared_with_its_own(tmp_path, monkeypatch):
    real = Untouched.__init__

    def refuses(self, asked, *, seed, exact=None):
        if exact is not None:
            raise NotImplementedError("no kernel for Double")
        real(self, asked, seed=seed)

    monkeypatch.setattr(Untouched, "__init__", refuses)
    found = verified(cell_of("mhsa"), tmp_path / "evidence")
    assert found.objections == ()
    assert found.said == "5 of 8; not in float64: NotImplementedError: no kernel for Double"


def test_a_constructor_that_draws_from_the_system_is_no_measure(tmp_path):
    cell = cell_of(f"{ADVERSARIES / 'sideways.py'}:OtherWeights")
    (objection,) = verified(cell, tmp_path / "evidence").objections
    assert not objection.sure
    assert "its constructor gives other weights for the same seed" in objection.said


def test_time_that_is_spent_ends_the_comparison_after_a_call(tmp_path, monkeypatch):
    clock = iter(torch.arange(0, 1000, 10.0).tolist())
    monkeypatch.setattr(verification.time, "monotonic", lambda: next(clock))
    found = verified(cell_of("mhsa"), tmp_path / "evidence", taken_s=0.0)
    assert found.said == "1 of 8, float64 beside"


@pytest.mark.parametrize(("cost", "beside"), [(1e9, ""), (0.0, ", float64 beside")])
def test_where_precision_need_not_be_looked_at_the_exact_copy_is_run_only_if_it_costs_little(
    cost, beside, tmp_path, monkeypatch
):
    monkeypatch.setattr(verification, "_EXACT", cost)  # of a budget of 0.05 times taken_s
    found = verified(cell_of("mhsa"), tmp_path / "evidence", exacting=False)
    assert found.objections == ()
    assert found.said == f"5 of 8{beside}"


def test_a_wrong_answer_is_rejected_though_precision_need_not_be_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(verification, "_EXACT", 1e9)
    cell = cell_of(f"{ADVERSARIES / 'when_timed.py'}:InferenceMode")
    (objection,) = verified(cell, tmp_path / "evidence", exacting=False).objections
    assert objection.sure
    assert "another answer than the layer's" in objection.said


@pytest.mark.parametrize(
    ("compiled", "off", "verdict"),
    [
        (True, 0.5, "3 of 3, float64 beside; as far apart as rounding every step brings it"),
        (True, 1.5, "3 of 3, float64 beside; as far apart as rounding every step brings it"),  # the third way does
        (True, 2.5, "another answer than the layer's"),
        (False, 0.5, "another answer than the layer's"),
    ],
)
def test_what_other_kernels_round_may_be_as_far_apart_as_rounding_moves_it(
    compiled, off, verdict, tmp_path, monkeypatch
):
    """A choice among nearly equal ones may fall another way; the copy's own kernels leave no such room."""
    cell = cell_of("mhsa")
    evidence = make_calls(ready(cell), tmp_path / "evidence", calls=3)
    for kept in evidence.kept:
        output = kept.tensors["output 0"]
        output[0] += off * output.abs().max()
    monkeypatch.setattr(verification.Copies, "swing", lambda *_, seed: {"output 0": 0.2 if seed == 2 else 0.1})
    monkeypatch.setattr(verification.Copies, "compiled", verification.Copies.plainly)
    found = verification.verify(
        replace(cell, compiled=compiled), evidence, seed=0, taken_s=1e6, shown_by="attnbench run"
    )
    said = found.said if not found.objections else found.objections[0].said
    assert verdict in said


def test_how_far_rounding_moves_a_result_grows_with_the_type(tmp_path):
    moved = {}
    for dtype in ("float32", "bfloat16"):
        cell = cell_of("mhsa", dtype=dtype)
        evidence = make_calls(ready(cell), tmp_path / dtype, calls=1)
        copies = verification.Copies(cell=cell, seed=0)
        moved[dtype] = copies.swing(evidence.kept[0], copies.exactly(evidence.kept[0]))["output 0"]
    assert 2**-24 < moved["float32"] < 2**-18
    assert 2**-10 < moved["bfloat16"] < 2**-4
