"""A copy that no timed call has touched: the same weights for the same seed, and nothing to know a benchmark by."""

from __future__ import annotations

import sys
import threading

import pytest
import torch
import torch.utils.flop_counter
from witnessed import HONEST, cell_of

from attnbench.models import calls, subject
from attnbench.models.untouched import Untouched, alone
from attnbench.record import Mode


def untouched(**axes):
    return Untouched(subject.of(cell_of("mhsa", **axes)), seed=3)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_is_what_is_timed_for_the_same_seed(dtype, mode):
    cell = cell_of("mhsa", dtype=dtype, mode=mode)
    model, x = calls.place(subject.of(cell), seed=3)
    copy = Untouched(subject.of(cell), seed=3)
    assert copy.x.dtype is x.dtype
    for name, weight in model.named_parameters():
        assert torch.equal(weight, dict(copy.model.named_parameters())[name])
        assert dict(copy.model.named_parameters())[name].requires_grad is (mode is Mode.TRAIN)


def test_a_number_gives_it_the_values_of_the_timed_call():
    cell = cell_of("mhsa")
    _, x = calls.place(subject.of(cell), seed=3)
    copy = untouched()
    calls.values(cell, x).fill(7)
    copy.fill(7)
    assert torch.equal(copy.x, x)
    copy.fill(8)
    assert not torch.equal(copy.x, x)


def test_an_exact_copy_has_the_weights_of_its_own_type_and_not_better_ones():
    asked = subject.of(cell_of("mhsa", dtype="bfloat16"))
    rounded, exact = Untouched(asked, seed=3), Untouched(asked, seed=3, exact=torch.float32)
    exact.fill(1)
    rounded.fill(1)
    assert exact.given.dtype is torch.float32
    assert torch.equal(exact.given, rounded.x.float())
    for weight, better in zip(rounded.model.parameters(), exact.model.parameters(), strict=True):
        assert better.dtype is torch.float32
        assert torch.equal(weight.float(), better)


def test_a_training_step_leaves_gradients_and_an_inference_none():
    for mode in Mode:
        copy = untouched(mode=mode)
        copy.fill(1)
        copy.run(1)
        found = [each.grad is not None for each in (copy.given, *copy.model.parameters())]
        assert all(found) if mode is Mode.TRAIN else not any(found)


def test_random_numbers_follow_from_the_seed():
    copy = Untouched(subject.of(cell_of(f"{HONEST}:DropsOut", mode=Mode.TRAIN)), seed=3)
    copy.fill(1)
    assert torch.equal(copy.run(5), copy.run(5))
    assert not torch.equal(copy.run(5), copy.run(6))


def test_what_it_finds_in_its_buffers_is_anothers_where_it_fits():
    copy = Untouched(subject.of(cell_of(f"{HONEST}:FollowsAMean", mode=Mode.TRAIN)), seed=3)
    name, buffer = next(iter(copy.model.named_buffers()))
    copy.find({name: torch.full(buffer.shape, 2.0, dtype=torch.float64), "another": torch.ones(3)})
    assert torch.equal(buffer, torch.full(buffer.shape, 2.0))
    copy.find({name: torch.ones(len(buffer) + 1)})
    assert torch.equal(buffer, torch.full(buffer.shape, 2.0))


def test_its_call_is_made_in_a_thread_with_autograd_and_without_the_harness_among_its_callers():
    copy, seen = untouched(), {}

    def look(x):
        frame, names = sys._getframe(1), set()
        while frame is not None:
            names.add(frame.f_globals.get("__name__", ""))
            frame = frame.f_back
        seen.update(
            names=names, thread=threading.current_thread(), grad=torch.is_grad_enabled(),
            inference=torch.is_inference_mode_enabled(),
        )  # fmt: skip
        return x

    with torch.inference_mode():
        copy.run(1, forward=look)
    assert seen["thread"] is not threading.main_thread()
    assert (seen["grad"], seen["inference"]) == (True, False)
    assert {name for name in seen["names"] if name.startswith(("attnbench.worker", "attnbench.probes"))} == set()


def test_what_is_entered_for_a_call_is_entered_in_its_thread():
    with torch.utils.flop_counter.FlopCounterMode(display=False) as outside:
        untouched().run(1)
    assert outside.get_total_flops() == 0
    inside = torch.utils.flop_counter.FlopCounterMode(display=False)
    untouched().run(1, within=inside)
    assert inside.get_total_flops() > 0


@pytest.mark.parametrize(
    ("raised", "expected", "said"),
    [
        (ValueError("no"), ValueError, "^no$"),
        (SystemExit(3), RuntimeError, "^SystemExit 3$"),
        (KeyboardInterrupt(), RuntimeError, "^KeyboardInterrupt$"),
    ],
    ids=["an error", "an exit", "an interrupt"],
)
def test_what_it_raises_is_raised_here_and_ends_nothing(raised, expected, said):
    def work():
        raise raised

    with pytest.raises(expected, match=said):
        alone(subject.of(cell_of("mhsa")), work)
