"""The maps of tasks: what they ask, and that a seed alone decides them."""

import pytest
import torch

from attnbench.accuracy.tasks.batch import UNASKED
from attnbench.accuracy.tasks.maps import EXAMINED_PAIRS, KEYS, asked_about, channels, draw
from attnbench.accuracy.tasks.table import TASKS

SHIFT = TASKS["shift"]


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_seed_and_its_purpose_decide_a_batch(task):
    value = task.values[-1]
    one, same = (draw(task, seed=3, purpose="batch 7", maps=2, value=value) for _ in range(2))
    others = [
        draw(task, seed=4, purpose="batch 7", maps=2, value=value),
        draw(task, seed=3, purpose="batch 8", maps=2, value=value),
    ]
    assert torch.equal(one.maps, same.maps)
    assert torch.equal(one.targets, same.targets)
    assert not any(torch.equal(one.maps, other.maps) for other in others)
    assert one.maps.shape == (2, task.height, task.width, channels(task))


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_drawing_leaves_the_generator_as_it_was(task):
    state = torch.get_rng_state()
    draw(task, seed=0, purpose="batch 0", maps=1, value=task.values[0])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_answer_is_as_likely(task):
    batch = draw(task, seed=0, purpose="batch 0", maps=64, value=task.values[-1])
    # One answer a map, since those to one map are not independent; six standard errors of a share.
    asked = torch.stack([answers[answers != UNASKED][0] for answers in batch.targets.flatten(1)])
    shares = asked.bincount(minlength=task.symbols) / len(asked)
    reach = 6 * (task.chance * (1 - task.chance) / len(asked)) ** 0.5
    assert len(shares) == task.symbols
    assert torch.allclose(shares, torch.tensor(task.chance), atol=reach, rtol=0)


@pytest.mark.parametrize("offset", [1, 5, 23])
def test_a_shift_asks_for_the_symbol_that_lies_an_offset_to_the_left(offset):
    batch = draw(SHIFT, seed=1, purpose="batch 0", maps=2, value=offset)
    about = asked_about(SHIFT, offset)
    for image in range(2):
        for row in range(SHIFT.height):
            for column in range(SHIFT.width):
                target = batch.targets[image, row, column]
                sources = about[row * SHIFT.width + column].nonzero().flatten().tolist()
                if column < offset:
                    assert target == UNASKED
                    assert sources == []
                    continue
                shown = batch.maps[image, row, column - offset, : SHIFT.symbols]
                assert shown.sum() == 1
                assert target == shown.argmax()
                assert sources == [row * SHIFT.width + column - offset]


def test_every_token_of_a_shift_is_told_where_it_lies():
    batch = draw(SHIFT, seed=1, purpose="batch 0", maps=1, value=1)
    places = batch.maps[0, :, :, SHIFT.symbols :].flatten(0, 1)
    assert len(places.unique(dim=0)) == SHIFT.height * SHIFT.width


def answers_by_hand(task, shown):
    """For each token of a map that asks: the value of the key that it asks for, and how far away that lies."""
    asked, keys, values = shown.split((KEYS, KEYS, task.symbols), -1)
    held = {int(keys[y, x].argmax()): (y, x) for y, x in keys.sum(-1).nonzero().tolist()}
    found = {}
    for y, x in asked.sum(-1).nonzero().tolist():
        row, column = held[int(asked[y, x].argmax())]
        found[y, x] = int(values[row, column].argmax()), max(abs(y - row), abs(x - column))
    return held, found


@pytest.mark.parametrize("pairs", [2, 16])
def test_every_token_without_a_key_asks_for_one_that_is_there(pairs):
    task = TASKS["recall-pairs"]
    batch = draw(task, seed=1, purpose="batch 0", maps=3, value=pairs)
    for shown, targets in zip(batch.maps, batch.targets, strict=True):
        held, found = answers_by_hand(task, shown)
        assert len(held) == pairs
        assert len(found) == task.height * task.width - pairs
        assert {place: targets[place].item() for place in found} == {
            place: value for place, (value, _) in found.items()
        }
        assert all(targets[place] == UNASKED for place in held.values())


@pytest.mark.parametrize("distance", [1, 4, 16])
def test_recall_asks_for_keys_at_a_distance_more_than_half_of_it(distance):
    task = TASKS["recall"]
    batch = draw(task, seed=1, purpose="batch 0", maps=3, value=distance)
    about = asked_about(task, distance)
    for shown, targets in zip(batch.maps, batch.targets, strict=True):
        held, found = answers_by_hand(task, shown)
        assert len(held) == EXAMINED_PAIRS
        near = {place: value for place, (value, away) in found.items() if distance / 2 < away <= distance}
        said = {(y, x): targets[y, x].item() for y, x in (targets != UNASKED).nonzero().tolist()}
        assert said == near
    far = [max(abs(a // 24 - b // 24), abs(a % 24 - b % 24)) for a, b in about.nonzero().tolist()]
    assert (min(far), max(far)) == (distance // 2 + 1, distance)


def test_recall_is_practised_at_any_distance():
    task = TASKS["recall"]
    batch = draw(task, seed=1, purpose="batch 0", maps=3, value=0)
    for shown, targets in zip(batch.maps, batch.targets, strict=True):
        _, found = answers_by_hand(task, shown)
        assert len(found) == (targets != UNASKED).sum()
