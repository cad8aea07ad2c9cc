"""Compiled modules that share nothing: neither cached graphs, nor guards, nor a limit on how often to compile again.

``torch.compile`` keeps its graphs by code object. Modules of one class share the code of ``forward``, so each one more
makes every call of all of them check more guards, and from the ninth on they silently run uncompiled.

What is called compiled may be so in pieces, or not at all: the compiler can be switched off, and it runs what it cannot
take as it stands, between two graphs. So its own counters are read.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from traceback import FrameSummary
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

_numbers = itertools.count()
_RECOMPILE_LIMIT = 8
"""Torch's own default, set again for each module: importing ``timm.optim`` raises it to a million."""
_SWITCHES = ("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE")
"""Variables that make ``torch.compile`` return what it is given."""
_MOST_NAMED = 3
"""Reasons for breaks that are named of each module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A module after its first call."""

    call: Callable[[], object]
    compile_s: float
    """What the first call took, compiling included."""
    recompilations: int
    """Graphs compiled in the calls after it, which should need none."""
    graphs: int
    """Graphs that the first call compiled: 1 for what was taken whole, 0 for what was not compiled at all."""
    breaks: int
    """Places where the compiler gave up a graph, to run something as it stands."""
    breaks_at: str
    """The compiler's reasons for them, with the file and line where it tells; empty without a break."""

    @property
    def why_not(self) -> str:
        """Why nothing was compiled; empty where something was."""
        if self.graphs:
            return ""
        off = [f"{name} is set" for name in _SWITCHES if os.environ.get(name, "0") != "0"]
        return f"torch.compile compiled nothing of it: {', '.join(off) or self.breaks_at or 'it is switched off'}"


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
    first, known, started = _counted(), len(_reasons()), time.perf_counter()
    call()
    synchronize()
    compile_s = time.perf_counter() - started
    before = _counted()
    for _ in range(calls):
        call()
    found = {name: before[name] - first[name] for name in before}
    return Compiled(
        call=call,
        compile_s=compile_s,
        recompilations=graphs() - before["stats"]["unique_graphs"],
        graphs=found["stats"]["unique_graphs"],
        breaks=found["graph_break"].total(),
        breaks_at=_places(found["graph_break"], known),
    )


def graphs() -> int:
    """Return how many graphs this process has compiled."""
    from torch._dynamo.utils import counters  # noqa: PLC0415 - a second, for cells that are compiled only

    return int(counters["stats"]["unique_graphs"])


def _counted() -> Mapping[str, Counter[str]]:
    """Return a copy of those counters of the compiler that are read here."""
    from torch._dynamo.utils import counters  # noqa: PLC0415 - as above

    return {name: Counter(counters[name]) for name in ("stats", "graph_break")}


def _reasons() -> list[Any]:
    """Return the reasons that torch keeps with the caller's stack, of breaks that end a graph which has begun."""
    from torch._dynamo import utils  # noqa: PLC0415 - as above

    return getattr(utils, "graph_break_reasons", [])


def _places(breaks: Counter[str], known: int) -> str:
    lines = {_first_line(each.reason): each.user_stack[-1] for each in _reasons()[known:] if each.user_stack}
    reasons = list(dict.fromkeys(map(_first_line, breaks)))
    said = [f"{reason} ({_place(lines[reason])})" if reason in lines else reason for reason in reasons]
    more = len(said) - _MOST_NAMED
    return "; ".join(said[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _first_line(reason: str) -> str:
    return reason.strip().partition("\n")[0]  # what follows explains and advises


def _place(frame: FrameSummary) -> str:
    return f"{Path(frame.filename).name}:{frame.lineno}"
