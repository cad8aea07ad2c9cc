"""The table of tasks, and how one is asked for."""

import re

import pytest

from attnbench.accuracy.data import datasets
from attnbench.accuracy.tasks import table
from attnbench.errors import DataError


@pytest.mark.parametrize("task", table.TASKS.values(), ids=lambda task: task.name)
def test_the_usual_values_of_an_axis_are_some_that_can_be_asked_for(task):
    assert all(task.within.holds(value) for value in task.values)
    assert list(task.values) == sorted(set(task.values))
    assert table.read(task.name).values == task.values
    assert table.size(task.name) == (task.height, task.width)


def test_values_are_taken_in_order_and_once():
    assert table.read("shift:offset=8, 2,8").values == (2, 8)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("shift:offset=0", "expected a whole number of tokens from 1 to 23; write shift:offset=1,2,4,8,16"),
        ("shift:offset=24", "expected a whole number of tokens from 1 to 23"),
        ("shift:offset=", "expected a whole number"),
        ("shift:distance=4", "shift has no option 'distance'; write shift:offset=1,2"),
        ("shfit", "no data set is called 'shfit'; did you mean shift?"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_with_what_would_do(written, said):
    with pytest.raises(DataError, match=re.escape(said)):
        datasets.check(written)


def test_a_folder_is_no_task():
    assert not table.is_task("folder:shift")
    assert table.size("digits") is None
