"""What torch has one of for a process: each change is found, said and undone, as far as torch lets it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch.nn.modules import module
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from attnbench.worker.torch_aspects import ASPECTS


class Slow(TorchFunctionMode):
    """Sees torch's functions."""


class Counting(TorchDispatchMode):
    """Sees torch's operators."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


CHANGES: dict[str, tuple[Callable[[], object], str]] = {
    "function modes": (lambda: Slow().__enter__(), "modes of torch's functions: Slow"),
    "dispatch modes": (lambda: Counting().__enter__(), "modes of torch's operators: Counting"),
    "hooks": (
        lambda: module.register_module_forward_hook(lambda *_: None),
        "hooks on all modules: _global_forward_hooks",
    ),
    "dynamo": (
        lambda: setattr(torch._dynamo.config, "suppress_errors", True),
        "settings of torch._dynamo: suppress_errors",
    ),
    "inductor": (
        lambda: setattr(torch._inductor.config, "max_autotune", True),
        "settings of torch._inductor: max_autotune",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found_said_undone_and_made_again(name: str) -> None:
    change, said = CHANGES[name]
    aspect, was = ASPECTS[name], ASPECTS[name].read()
    try:
        change()
        now = aspect.read()
        assert now != was
        assert aspect.said(was, now) == said
        aspect.write(was)
        assert aspect.read() == was
        aspect.write(now)
        assert aspect.read() == now
    finally:
        aspect.write(was)
    assert aspect.kept


@pytest.fixture
def library() -> Iterator[torch.library.Library]:
    brought = torch.library.Library("aten", "IMPL")
    yield brought
    brought._destroy()


def test_kernels_for_torchs_own_operators_are_found(library: torch.library.Library) -> None:
    was = ASPECTS["kernels"].read()
    library.impl("hardshrink", lambda x, *_: x, "CPU")
    now = ASPECTS["kernels"].read()
    assert ASPECTS["kernels"].said(was, now) == "kernels of torch's own operators: aten/hardshrink/CPU"
    ASPECTS["kernels"].write(was)
    assert ASPECTS["kernels"].read() == now, "torch takes none back but for the library that brought it"


def test_operators_of_ones_own_are_no_change() -> None:
    was = ASPECTS["kernels"].read()
    with torch.library._scoped_library("of_mine_alone", "DEF") as mine:
        mine.define("twice(Tensor x) -> Tensor")
        mine.impl("twice", lambda x: 2 * x, "CPU")
        assert ASPECTS["kernels"].read() == was
