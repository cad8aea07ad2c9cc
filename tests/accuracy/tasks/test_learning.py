"""Learning a task: what reach allows, the same maps for all, and what a seed that fails or an interruption costs."""

import functools
from dataclasses import replace

import pytest
import torch

from attnbench import auxiliary
from attnbench.accuracy.data import fashion
from attnbench.accuracy.tasks import learning, table
from attnbench.accuracy.tasks.curve import Curve
from attnbench.accuracy.tasks.learning import ceiling, learn
from attnbench.mechanism import Mechanism
from attnbench.mechanisms.mhsa import MHSA
from attnbench.mechanisms.swin import ShiftedWindowAttention
from attnbench.plugins.registry import discover

GUESSING = table.TASKS["shift"].chance


class TokenLinear(Mechanism):
    """Every token by itself: the cheapest layer there is."""

    reach = "local"

    def __init__(self, site):
        super().__init__(site)
        self.linear = torch.nn.Linear(site.dim, site.dim)

    def forward(self, x):
        return self.linear(x)


class Unlucky(TokenLinear):
    """A layer that raises for some seeds."""

    def __init__(self, site, *, unlucky):
        super().__init__(site)
        if torch.initial_seed() in unlucky:
            raise RuntimeError("no luck")


class Windowed(ShiftedWindowAttention):
    """Swin's layer with windows that stay where they are: both layers see the same."""

    def __init__(self, site, *, window):
        super().__init__(replace(site, layer=0), window=window)


@pytest.fixture
def quick(monkeypatch):
    """Epochs of a step."""
    monkeypatch.setattr(learning, "STEPS", 1)


@pytest.mark.parametrize("window", [4, 8])
def test_windows_fail_beyond_their_reach_as_far_as_geometry_says(window):
    """Of tokens that are asked about one to the left, those see it whose window holds both; the others guess."""
    offsets = (1, 2, 3, 4, 8, 16)
    asked = table.read(f"shift:offset={','.join(map(str, offsets))}")
    found = ceiling(functools.partial(Windowed, window=window), asked)
    width = asked.task.width
    for offset in offsets:
        pairs = [(column, column - offset) for column in range(offset, width)]
        seen = sum(one // window == other // window for one, other in pairs) / len(pairs)
        assert found.shares[offset][0] == pytest.approx(seen + (1 - seen) * GUESSING)
    assert found.shares[window][0] == GUESSING


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "ss2d" else ()) for name in sorted(discover().plugins)],
)
def test_what_is_global_can_answer_at_any_offset_and_shifted_windows_cannot(name):
    mechanism = discover().find(name).load()
    found = ceiling(mechanism, table.read("shift"))
    if mechanism.reach == "global":
        assert [shares[0] for shares in found.shares.values()] == [1.0] * 5
    else:
        assert found.shares[1][0] > 0.7
    if name == "swin":
        assert found.shares[16][0] == GUESSING
        assert GUESSING < found.shares[8][0] < 1


@pytest.mark.parametrize("task", ["recall", "same-different"])
def test_of_what_windows_do_not_hold_nothing_is_recalled(task):
    asked = table.read(task)
    whole, windows = (ceiling(each, asked) for each in (MHSA, functools.partial(Windowed, window=4)))
    assert {shares[0] for shares in whole.shares.values()} == {1.0}
    # Windows of 4 x 4 hold what lies up to 3 away.
    assert [share for (share,) in windows.shares.values()] == sorted(
        (share for (share,) in windows.shares.values()), reverse=True
    )
    assert windows.shares[1][0] > asked.task.chance
    assert {share for value in (8, 16) for share in windows.shares[value]} == {asked.task.chance}


def test_of_many_pairs_windows_hold_few():
    windows = ceiling(functools.partial(Windowed, window=4), table.read("recall-pairs"))
    assert len({share for (share,) in windows.shares.values()}) == 1
    assert windows.shares[4][0] < 0.3
    assert {shares[0] for shares in ceiling(MHSA, table.read("recall-pairs")).shares.values()} == {1.0}


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", [MHSA, ShiftedWindowAttention])
def test_trained_windows_recall_what_is_near_and_global_layers_all(mechanism):
    found = learn(mechanism, table.read("recall"), seeds=[0]).curve
    near, far = found.shares[2][0], found.shares[16][0]
    if mechanism is MHSA:
        assert min(near, far) > 0.9
    else:
        assert far < GUESSING + 0.1
        if near <= 0.5:  # 0.376 when it was measured last: within this budget windows learn little of what they reach
            pytest.xfail(f"windows recall {near:.1%} of what is near, and were to recall more than half")


@pytest.mark.slow
@pytest.mark.skipif(not fashion.FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
@pytest.mark.parametrize("mechanism", [MHSA, ShiftedWindowAttention])
def test_trained_windows_tell_garments_apart_that_are_near_and_global_layers_all(mechanism):
    asked = table.read("same-different")
    found = learn(mechanism, asked, seeds=[0]).curve
    near, far = found.shares[1][0], found.shares[16][0]
    if mechanism is MHSA:
        assert min(near, far) > 0.85
    else:
        assert near > 0.75
        assert abs(far - asked.task.chance) < 0.06


def test_one_training_is_examined_at_every_value(quick):
    kept, calls = [], []
    found = learn(
        TokenLinear, table.read("recall"), seeds=[0, 1], epochs=2, keep=kept.append,
        progress=lambda *call: calls.append(call),
    )  # fmt: skip
    assert [len(curve.shares) for curve in kept] == [5, 5]
    assert calls == [(done, 4) for done in range(1, 5)]
    assert found.to_metrics()["accuracy_seeds"] == 2


@pytest.mark.slow
def test_trained_windows_fail_beyond_their_reach_and_global_layers_do_not():
    asked = table.read("shift:offset=2,16")
    whole, windows = (learn(each, asked, seeds=[0]).curve for each in (MHSA, ShiftedWindowAttention))
    assert min(whole.of_seed(0, [2]), whole.of_seed(0, [16])) > 0.95
    assert windows.of_seed(0, [2]) > 0.7
    assert windows.of_seed(0, [16]) < GUESSING + 0.05


def test_one_seed_gives_one_result_and_seeds_differ(quick):
    asked = table.read("shift:offset=1,2")
    first = learn(TokenLinear, asked, seeds=[0, 1], epochs=2).curve
    torch.rand(3)
    assert str(first) == str(learn(TokenLinear, asked, seeds=[0, 1], epochs=2).curve)
    assert len(set(first.shares[1])) == 2


def test_every_mechanism_sees_the_same_maps_in_the_same_order(quick, monkeypatch):
    seen = []
    draw = learning.draw

    def spy(task, **how):
        seen[-1].append(how)
        return draw(task, **how)

    monkeypatch.setattr(learning, "draw", spy)
    for mechanism in (TokenLinear, MHSA):
        seen.append([])
        learn(mechanism, table.read("shift:offset=1,2"), seeds=[0, 1], epochs=2)
    assert seen[0] == seen[1]
    trained = [how["purpose"] for how in seen[0] if how["purpose"].startswith("batch")]
    assert trained == ["batch 0", "batch 1"] * 4


def test_a_seed_that_fails_costs_only_that_seed(quick):
    found = learn(functools.partial(Unlucky, unlucky={1}), table.read("shift:offset=1,2"), seeds=[0, 1, 2], epochs=1)
    metrics = found.to_metrics()
    assert metrics["accuracy_seeds"] == 2
    assert "seed 1 failed: RuntimeError: no luck" in metrics["accuracy_remark"]
    assert [share is None for share in found.curve.shares[2]] == [False, True, False]


def test_where_every_seed_fails_the_first_error_is_raised(quick):
    with pytest.raises(RuntimeError, match="no luck"):
        learn(functools.partial(Unlucky, unlucky={0, 1}), table.read("shift"), seeds=[0, 1], epochs=1)


def test_what_was_learned_is_kept_as_it_comes_and_not_learned_again(quick):
    asked, kept, built = table.read("shift:offset=1,2"), [], []

    def build(site):
        built.append(site)
        return TokenLinear(site)

    whole = learn(build, asked, seeds=[0, 1], epochs=1, keep=kept.append)
    assert [sum(curve.has(value, seed) for value in (1, 2) for seed in (0, 1)) for curve in kept] == [1, 2, 3, 4]
    several = len(built)
    built.clear()
    resumed = learn(build, asked, seeds=[0, 1], epochs=1, known=Curve.read(str(kept[2])), keep=kept.append)
    assert len(built) == several - 3 * 2
    assert str(resumed.curve) == str(whole.curve)


def test_progress_counts_the_epochs_of_all_trainings_those_that_were_known_included(quick):
    calls = []
    known = Curve(seeds=2).with_share(1, 0, 0.5)
    learn(
        TokenLinear, table.read("shift:offset=1,2"), seeds=[0, 1], epochs=2, known=known,
        progress=lambda *call: calls.append(call),
    )  # fmt: skip
    assert calls == [(done, 8) for done in range(3, 9)]


def test_a_training_that_diverges_says_so(quick):
    class Diverging(TokenLinear):
        def forward(self, x):
            return self.linear(x) * float("inf")

    with pytest.raises(FloatingPointError, match="the loss is nan after 1 epochs of seed 3"):
        learn(Diverging, table.read("shift:offset=1"), seeds=[3], epochs=1)


def test_the_row_has_the_mean_over_the_axis_its_interval_and_what_to_know(quick):
    found = learn(TokenLinear, table.read("shift:offset=1,16"), seeds=range(3), epochs=1)
    metrics = found.to_metrics()
    per_seed = [float(each) for each in metrics["accuracy_per_seed"].split()]
    assert metrics["accuracy_top1"] == pytest.approx(sum(per_seed) / 3, abs=1e-6)
    assert metrics["accuracy_ci_low"] <= metrics["accuracy_top1"] <= metrics["accuracy_ci_high"]
    assert metrics["accuracy_axis"] == "offset (tokens)"
    assert metrics["accuracy_holds_to"] == 0
    assert metrics["accuracy_ceiling"] == "1: 0.125; 16: 0.125"
    assert metrics["accuracy_remark"] == "hardly told from guessing, 12.5% right, at any offset"
    assert Curve.read(metrics["accuracy_curve"]).seeds == 3


class Divergent(TokenLinear):
    """A layer with a loss of its own, which is no number for some seeds."""

    def __init__(self, site, *, unlucky):
        super().__init__(site)
        self.weight = float("nan") if torch.initial_seed() in unlucky else 1.0

    def forward(self, x):
        auxiliary.contribute(self.weight * self.linear.weight.square().sum())
        return self.linear(x)


def test_a_loss_of_its_own_that_is_not_finite_costs_that_seed_and_is_named(quick):
    found = learn(functools.partial(Divergent, unlucky={1}), table.read("shift:offset=1"), seeds=[0, 1, 2], epochs=1)
    metrics = found.to_metrics()
    assert metrics["accuracy_seeds"] == 2
    assert "seed 1 failed: FloatingPointError: the loss is nan, by the mechanism's own" in metrics["accuracy_remark"]


def test_a_loss_of_its_own_changes_what_is_learned_and_none_changes_nothing(quick):
    asked = table.read("shift:offset=1")
    own = learn(functools.partial(Divergent, unlucky=()), asked, seeds=[0], epochs=4).curve
    plain, again = (learn(TokenLinear, asked, seeds=[0], epochs=4).curve for _ in range(2))
    assert str(plain) == str(again) != str(own)
