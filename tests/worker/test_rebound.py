"""What names that a process shares stand for, and that a change of it is found and undone."""

from __future__ import annotations

import builtins
import importlib
import json
import math
import os
import time
import types
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from attnbench.probes import latency
from attnbench.worker.rebound import Bindings

OTHER = object()


def other(*_: object, **__: object) -> object:
    return OTHER


@pytest.fixture
def before() -> Iterator[Bindings]:
    """Take what names stand for, and let them stand for it again at the end."""
    bindings = Bindings()
    yield bindings
    for each in bindings.rebound():
        each.undo()


@pytest.mark.parametrize(
    ("holder", "name", "said"),
    [
        (torch.nn.functional, "scaled_dot_product_attention", "torch.nn.functional.scaled_dot_product_attention"),
        (torch, "matmul", "torch.matmul"),
        (torch.Tensor, "__matmul__", "torch.Tensor.__matmul__"),
        (torch.Tensor, "softmax", "torch.Tensor.softmax"),
        (nn.Linear, "forward", "torch.nn.modules.linear.Linear.forward"),
        (nn.Module, "__call__", "torch.nn.modules.module.Module.__call__"),
        (torch.cuda, "synchronize", "torch.cuda.synchronize"),
        (torch.cuda, "max_memory_allocated", "torch.cuda.max_memory_allocated"),
        (torch.accelerator, "synchronize", "torch.accelerator.synchronize"),
        (torch.ops.aten, "bmm", "torch.ops.aten.bmm"),
        (torch, "compile", "torch.compile"),
        (np, "median", "numpy.median"),
        (np.random, "default_rng", "numpy.random.default_rng"),
        (builtins, "print", "builtins.print"),
        (json, "dumps", "json.dumps"),
        (time, "perf_counter_ns", "time.perf_counter_ns"),
        (os, "write", "os.write"),
        (math, "ceil", "math.ceil"),
        (latency, "median_estimate", "attnbench.probes.latency.median_estimate"),
        (latency, "math", "attnbench.probes.latency.math"),
        (latency, "len", "attnbench.probes.latency.len"),
        (latency.Timing, "to_arrays", "attnbench.probes.latency.Timing.to_arrays"),
    ],
)
def test_a_function_that_everything_shares_is_missed_and_put_back(
    before: Bindings, holder: object, name: str, said: str
) -> None:
    getattr(torch.ops.aten, "bmm")  # noqa: B009 - is looked up when it is first asked for
    before.__init__()  # type: ignore[misc]
    was = getattr(holder, name, None)
    setattr(holder, name, other)
    (found,) = before.rebound()
    assert found.said == said
    assert found.undo()
    assert getattr(holder, name, None) == was
    assert before.rebound() == []
    assert found.redo()
    assert getattr(holder, name) is other or isinstance(getattr(holder, name), types.MethodType)
    assert not found.redo(), "it stood for something else than before the change"
    assert found.undo()


def test_a_function_that_was_taken_away_is_put_back(before: Bindings) -> None:
    was = os.getpid
    del os.getpid
    (found,) = before.rebound()
    found.undo()
    assert os.getpid is was


def test_what_is_added_or_imported_is_no_change(before: Bindings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.functional, "attention_of_mine", other, raising=False)
    monkeypatch.setattr(nn.Linear, "of_mine", other, raising=False)
    importlib.import_module("torch.distributions.gumbel")
    importlib.import_module("xml.dom.minidom")
    assert before.rebound() == []


@pytest.mark.parametrize("name", ["range", "sum", "abs", "max", "pow"])
def test_an_operator_that_is_first_asked_for_is_no_change_though_python_has_a_function_of_its_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(vars(torch.ops.aten), name, raising=False)
    before = Bindings()
    assert getattr(torch.ops.aten, name)
    assert before.rebound() == []


def test_a_name_that_hides_a_function_of_pythons_in_a_module_is_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Bindings()
    monkeypatch.setattr(latency, "sum", other, raising=False)
    assert [each.said for each in before.rebound()] == ["attnbench.probes.latency.sum"]


def test_values_may_change(before: Bindings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "VERBOSE_ON", 7, raising=False)
    monkeypatch.setattr(math, "pi", 3)
    assert before.rebound() == []


def test_torchs_own_compiler_is_no_plugin(before: Bindings) -> None:
    torch.compile(nn.Linear(3, 3), backend="eager")(torch.ones(1, 3))
    assert before.rebound() == []
