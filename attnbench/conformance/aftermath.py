"""Checks of what a call leaves: its input and weights as they were, a result that is done, cores at rest.

What ``attnbench run`` would reject or suspect a row for is found here first.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext

import torch
from torch import Tensor

from attnbench.conformance.candidate import Candidate, distance, image, new_values
from attnbench.conformance.finding import BrokenError, NotClaimedError
from attnbench.probes import memory, outside
from attnbench.worker.leftovers import Leftovers

_CALLS = 40
_AT_ONCE_S = 1.0
"""Time that a thread of a layer's own is given to change what it has returned."""
_SIDE = 28
"""Side of the map on which memory is looked at: on a small one everything is less than what is usual."""


def input_kept(candidate: Candidate) -> str:
    """A call leaves its input as it was."""
    layer, x = candidate.single(), image(candidate.base).float()
    for mode in (torch.inference_mode, nullcontext):
        with mode():
            before = x.clone()
            layer(x)
        if not torch.equal(x, before):
            raise BrokenError(
                f"a call changes its input by {distance(x, before):.1e} of the largest value",
                advice="do nothing in place to what was given",
                site=candidate.base,
            )
    return "equal in every bit"


def weights_kept(candidate: Candidate) -> str:
    """Calls leave the parameters as they were."""
    layer, x = candidate.single(), image(candidate.base).float()
    before = {name: each.detach().clone() for name, each in layer.named_parameters()}
    with torch.inference_mode():
        for _ in new_values(x, _CALLS):
            layer(x)
    changed = [name for name, each in layer.named_parameters() if not torch.equal(each, before[name])]
    if changed:
        raise BrokenError(f"{_CALLS} calls change {', '.join(changed)}", site=candidate.base)
    return f"in {_CALLS} calls"


def done_on_return(candidate: Candidate) -> str:
    """What a call returns is worked out by then: a plain tensor, which nothing changes afterwards."""
    layer, x = candidate.single(), image(candidate.base).float()
    with torch.inference_mode():
        for _, _ in new_values(x, 3):
            before = set(threading.enumerate())
            y = layer(x)
            kind, first = type(y), y.clone()
            if kind is not Tensor:
                raise BrokenError(f"a {kind.__name__}, which may not be worked out yet", site=candidate.base)
            for thread in set(threading.enumerate()) - before:
                thread.join(_AT_ONCE_S)
            if not torch.equal(y, first):
                raise BrokenError(
                    "the result changes after the call has returned",
                    advice="wait in forward for what it has started",
                    site=candidate.base,
                )
    return "a plain tensor"


def at_rest(candidate: Candidate) -> str:
    """Nothing that a layer has started keeps a core busy while nothing is called."""
    torch.ones(2**20).sum()  # torch's threads are nobody's leftovers
    before = Leftovers()
    layer, x = candidate.single(), image(candidate.base).float()
    with torch.inference_mode():
        layer(x)
    if cores := before.busy_cores():
        raise BrokenError(
            f"{cores:.1f} cores stay busy", advice="let threads wait, or end them in forward", site=candidate.base
        )
    return "no core is busy after a call"


def memory_inside(candidate: Candidate) -> str:
    """What a call holds, it has of torch's allocator, where it is measured."""
    site = candidate.near_base(height=_SIDE, width=_SIDE) or candidate.base
    layer, x = candidate.layer(site).float(), image(site).float()

    @torch.inference_mode()
    def call() -> None:
        layer(x)

    def forget() -> None:
        pass

    call()
    peak = memory.peak(call, device="cpu", forget=forget).peak_bytes
    assert peak is not None, "the processor's is always known"
    found = outside.outside(call, forget=forget, peak_bytes=peak)
    if found is None:
        raise NotClaimedError("this system does not say what a process has taken")
    if found:
        raise BrokenError(
            f"a call takes {found:,} bytes past torch's allocator, beside the {peak:,} of its peak",
            advice="take memory as tensors; numpy, mmap and ctypes have it elsewhere",
            site=site,
        )
    return f"{peak:,} bytes at {site.height}x{site.width} tokens, and none elsewhere"
