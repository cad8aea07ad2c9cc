"""What a plugin changes is kept for its own calls and from the others'; what everybody does is no change."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from attnbench.worker import surroundings
from attnbench.worker.aspects import Aspect
from attnbench.worker.surroundings import Surroundings, Turns, World

IMPORTS = """
import torch, timm
from attnbench.worker.surroundings import Surroundings
house = Surroundings()
import scipy.stats, sklearn.linear_model, matplotlib.pyplot, pandas, PIL.Image, concurrent.futures, multiprocessing
import torchvision, seaborn, torch.distributed, torch.utils.cpp_extension, torch.nn.attention.flex_attention
torch.set_float32_matmul_precision("high")
torch.manual_seed(1)
scipy.stats.norm.rvs(size=3)

@torch.library.custom_op("of_mine::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return 2 * x

twice(torch.ones(3))
print(repr(house.settle().said))
"""


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Iterator[Surroundings]:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # pytest's own change
    taken = Surroundings()
    yield taken
    taken.settle()


def fourfold(*tensors: Tensor) -> Tensor:
    return 4 * tensors[0]


def test_what_a_plugin_rebinds_is_found_by_its_own_calls_alone(
    house: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERE", "before")
    house.renew()
    was = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = fourfold
    os.environ["HERE"] = "after"
    settled = house.settle()
    assert settled.said == (
        "rebinds torch.nn.functional.scaled_dot_product_attention; changes environment variables HERE"
    )
    assert settled.left == []
    seen = settled.world.around(lambda: (functional.scaled_dot_product_attention, os.environ["HERE"]))
    assert seen() == (fourfold, "after")
    assert (functional.scaled_dot_product_attention, os.environ["HERE"]) == (was, "before")
    assert house.settle().said == ""


def test_a_call_that_raises_leaves_its_world(house: Surroundings) -> None:
    was = functional.softmax
    functional.softmax = fourfold
    world = house.settle().world
    with pytest.raises(ZeroDivisionError):
        world.around(lambda: 1 // 0)()
    assert functional.softmax is was


def test_where_nothing_was_changed_a_call_is_itself() -> None:
    assert World().around(fourfold) is fourfold


def test_worlds_take_turns_and_what_is_rebound_under_them_is_told(house: Surroundings) -> None:
    was = functional.softmax
    functional.softmax = fourfold
    turns = Turns([house.settle().world, World()])
    turns.to(0)
    assert functional.softmax is fourfold
    turns.to(1)
    assert functional.softmax is was
    assert turns.rebound == []
    functional.softmax = torch.relu
    turns.to(0)
    assert turns.rebound == ["torch.nn.functional.softmax"]
    turns.to(None)
    assert functional.softmax is was


def test_what_cannot_be_put_back_is_left(house: Surroundings) -> None:
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(100)]
    try:
        assert house.settle().left == ["leaves 100 files open"]
        house.admit()
        assert house.settle().said == ""
    finally:
        for each in opened:
            os.close(each)


def test_an_aspect_that_can_no_longer_be_read_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    once = Aspect(read=iter([1]).__next__, write=print, said=lambda *_: "")
    monkeypatch.setitem(surroundings._ASPECTS, "what is there once", once)
    assert Surroundings().settle().left == ["breaks what is there once: StopIteration"]


def test_imports_that_everybody_does_are_no_change(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", IMPORTS], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert ended.stdout.splitlines()[-1:] == ["''"], ended.stderr
