"""Compiled modules that share nothing: neither cached graphs, nor guards, nor a limit on how often to compile again.

``torch.compile`` keeps its graphs by code object. Modules of one class share the code of ``forward``, so each one more
makes every call of all of them check more guards, and from the ninth on they silently run uncompiled.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

_numbers = itertools.count()
_RECOMPILE_LIMIT = 8
"""Torch's own default, set again for each module: importing ``timm.optim`` raises it to a million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A module after its first call."""

    call: Callable[[], object]
    compile_s: float
    """What the first call took, compiling included."""
    recompilations: int
    """Graphs compiled in the calls after it, which should need none."""


def isolated(model: nn.Module) -> Callable[[Tensor], Any]:
    """Return a module compiled for one shape of its input, with a code object of its own."""
    # Running uncompiled without a word would falsify a figure; an exception is a row that says so.
    torch._dynamo.config.fail_on_recompile_limit_hit = True  # noqa: SLF001 - the documented way to set it
    torch._dynamo.config.recompile_limit = _RECOMPILE_LIMIT  # noqa: SLF001

    def forward(x: Tensor) -> Any:  # noqa: ANN401 - whatever the module returns
        return model(x)

    own = FunctionType(
        forward.__code__.replace(co_name=f"forward_{next(_numbers)}"), globals(), closure=forward.__closure__
    )
    compiled: Callable[[Tensor], Any] = torch.compile(own, dynamic=False)
    return compiled


def warm(call: Callable[[], object], *, synchronize: Callable[[], object], calls: int = 3) -> Compiled:
    """Make the first calls of a compiled module, and say what they compiled.

    Args:
        call: calls the compiled module.
        synchronize: waits until the device is done.
        calls: how many calls follow the first.
    """
    started = time.perf_counter()
    call()
    synchronize()
    compile_s = time.perf_counter() - started
    before = graphs()
    for _ in range(calls):
        call()
    return Compiled(call=call, compile_s=compile_s, recompilations=graphs() - before)


def graphs() -> int:
    """Return how many graphs this process has compiled."""
    from torch._dynamo.utils import counters  # noqa: PLC0415 - a second, for cells that are compiled only

    return int(counters["stats"]["unique_graphs"])
