"""Maps of garments: what they ask, what they are made of, and that nothing but both garments tells the answer."""

import re

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from attnbench.accuracy.data import datasets, fashion
from attnbench.accuracy.tasks.batch import UNASKED
from attnbench.accuracy.tasks.garments import PIXELS, SAME
from attnbench.accuracy.tasks.maps import draw
from attnbench.accuracy.tasks.table import TASKS
from attnbench.errors import DataError

TASK = TASKS["same-different"]


def parts(batch):
    """Return tokens' own garments and the shown one of each map: (maps, tokens, pixels), (maps, pixels)."""
    own, shown = batch.maps.flatten(1, 2).split(PIXELS, -1)
    return own, shown.sum(1)


@pytest.mark.parametrize("distance", [1, 5, 16, 23])
def test_tokens_exactly_a_distance_from_the_one_that_is_shown_are_asked_whether_theirs_is_the_same(distance):
    batch = draw(TASK, seed=1, purpose="batch 0", maps=5, value=distance)
    own, shown = parts(batch)
    for image in range(5):
        ((row, column),) = batch.maps[image, :, :, PIXELS:].any(-1).nonzero().tolist()
        assert not batch.maps[image, row, column, :PIXELS].any()
        for y in range(TASK.height):
            for x in range(TASK.width):
                target = batch.targets[image, y, x]
                if max(abs(y - row), abs(x - column)) == distance:
                    equal = torch.equal(own[image, y * TASK.width + x], shown[image])
                    assert target == int(equal)
                else:
                    assert target == UNASKED
        assert (batch.targets[image] != UNASKED).any()


def test_trained_are_all_distances_at_once():
    batch = draw(TASK, seed=1, purpose="batch 0", maps=3, value=0)
    assert (batch.targets == UNASKED).sum((1, 2)).tolist() == [1, 1, 1]


def test_a_map_is_of_two_garments_and_examined_with_none_that_is_trained_on():
    splits = {
        held_out: draw(TASK, seed=1, purpose="p", maps=50, value=0, held_out=held_out) for held_out in (False, True)
    }
    seen = {}
    for held_out, batch in splits.items():
        own, shown = parts(batch)
        for tokens in own:
            assert len(tokens[tokens.any(-1)].unique(dim=0)) == 2
        seen[held_out] = {tuple(each) for each in torch.cat([own.flatten(0, 1), shown]).unique(dim=0).tolist()}
        found = fashion.load(fashion.FOLDER, name="x")
        source = (found.train, found.held_out)[held_out].images
        means = source.view(-1, 14, 2, 14, 2).mean((2, 4)).flatten(1).double()
        levelled = (means - means.mean(1, keepdim=True)) / means.std(1, correction=0, keepdim=True)
        garments = torch.tensor([each for each in seen[held_out] if any(each)], dtype=torch.float64)
        assert torch.cdist(garments, levelled).min(1).values.max() < 0.05
    assert len(seen[False] & seen[True]) == 1  # a token without a garment


def test_sums_and_contrasts_of_garments_are_alike():
    own, shown = parts(draw(TASK, seed=1, purpose="batch 0", maps=20, value=0))
    garments = torch.cat([own.flatten(0, 1), shown])
    garments = garments[garments.any(-1)]
    assert garments.mean(-1).abs().max() < 1e-5
    assert (garments.std(-1, correction=0) - 1).abs().max() < 1e-3


def clues(batch, *, see_shown):
    """Of one asked token of each map: its garment, how alike its neighbours' are, and how alike the shown one's."""
    own, shown = parts(batch)
    grid = own.unflatten(1, (TASK.height, TASK.width))
    found, answers = [], []
    for image in range(len(own)):
        y, x = (batch.targets[image] != UNASKED).nonzero()[0].tolist()
        garment = grid[image, y, x]
        around = grid[image, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].flatten(0, 1)
        alike = (around @ garment) / PIXELS
        said = [alike.mean(), alike.std(), (own[image] @ garment).mean() / PIXELS]
        said += [shown[image] @ garment / PIXELS] if see_shown else []
        found.append(torch.cat([garment / 10, torch.stack(said)]))
        answers.append(int(batch.targets[image, y, x]))
    return torch.stack(found).numpy(), answers


@pytest.mark.parametrize("see_shown", [False, True])
def test_who_does_not_see_the_shown_garment_is_right_by_chance_alone(see_shown):
    """A classifier of a token, of what lies around it and of the whole map but for the shown token."""
    maps = 1200
    learned, asked = (clues(draw(TASK, seed=s, purpose="p", maps=maps, value=16), see_shown=see_shown) for s in (0, 1))
    right = LogisticRegression(max_iter=500).fit(*learned).score(*asked)
    if see_shown:
        assert right > 0.95
    else:
        assert abs(right - TASK.chance) < 4 * (0.25 / maps) ** 0.5


def test_same_and_different_are_as_likely_map_by_map():
    batch = draw(TASK, seed=2, purpose="p", maps=200, value=0)
    counts = (batch.targets == SAME).sum((1, 2)).double()
    tokens = TASK.height * TASK.width - 1
    assert counts.mean().item() == pytest.approx(tokens / 2, abs=5 * (tokens / 4 / 200) ** 0.5)
    assert counts.var().item() == pytest.approx(tokens / 4, rel=0.6)


def test_without_fashion_mnist_a_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(fashion, "FOLDER", tmp_path)
    said = f"same-different shows Fashion-MNIST, which is not in {tmp_path}; install Debian's package dataset-fashion-"
    with pytest.raises(DataError, match=re.escape(said)):
        datasets.check("same-different:distance=2")
