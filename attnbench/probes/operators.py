"""Where the time of a call goes: operators on a processor, kernels on an accelerator, by torch's profiler.

A profile makes calls slower, those of many small operators most, so that its times are none of a latency's. Knows
nothing of cells.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import nn
from torch.autograd.profiler import profile, record_function

from attnbench.devices.clock import Timer
from attnbench.explain.profiles import MOST_OPERATORS, CallProfile, OperatorTime

Call = Callable[[], object]
RANGE = "attnbench: attention"
"""Name of the range around each layer of a mechanism."""
_CALL = "attnbench: call"
_HOST = "CPU"
"""What the profiler calls the processor."""
_LONGEST_NAME = 200
_NS = 1e-9


class ProfiledSpan(NamedTuple):
    """What ran from one time to another, in nanoseconds."""

    name: str
    start_ns: int
    end_ns: int


def measure(
    call: Call, *, renew: Call, timer: Timer, synchronize: Call, calls: int = 5, warm_up: int = 3, accelerator: str = ""
) -> CallProfile:
    """Time a few calls as they are, and profile a few.

    Args:
        call: what is explained.
        renew: what is done before each call and not timed.
        timer: for the calls without the profiler.
        synchronize: returns when all that calls have begun is done.
        calls: how many are profiled, and how many timed.
        warm_up: how many calls come before.
        accelerator: torch's name of the kind of device that does the work; empty where that is the processor.
    """
    for _ in range(warm_up):
        renew()
        call()
    plain = [_timed(call, renew, timer) for _ in range(calls)]
    with _profiled(accelerator):  # the first start sets much up
        call()
        synchronize()
    took_s, events = 0.0, list[Any]()
    for _ in range(calls):
        renew()
        synchronize()
        with _profiled(accelerator) as found:
            start = time.perf_counter()
            with record_function(_CALL):
                call()
            synchronize()
            took_s += time.perf_counter() - start
        events.append(found)
    plain_s = statistics.median(plain)
    of_device = [_spans(each, of_device=True) for each in events] if accelerator else []
    if any(of_device):
        busy_s = sum(map(_union_ns, of_device)) * _NS / calls
        operators = _by_name([(each, each.end_ns - each.start_ns) for spans in of_device for each in spans], calls)
        attention_s, rest_s = None, max(0.0, plain_s - busy_s)
    else:
        own = [pair for each in events for pair in self_times(_spans(each, of_device=False))]
        inside = [(span, own_ns) for span, own_ns in own if span.name not in {RANGE, _CALL}]
        operators = _by_name(inside, calls)
        rest_s = max(0.0, took_s / calls - sum(each.self_s for each in operators))
        ranges = [span.end_ns - span.start_ns for span, _ in own if span.name == RANGE]
        attention_s = sum(ranges) * _NS / calls if ranges and not accelerator else None
    return CallProfile(
        operators=_heaviest(operators),
        rest_s=rest_s,
        plain_s=plain_s,
        profiled_s=took_s / calls,
        attention_s=attention_s,
        on_device=any(of_device),
        calls=calls,
    )


def told(
    call: Call,
    told_by: Callable[[int], tuple[Sequence[tuple[str, float]], float]],
    *,
    renew: Call,
    timer: Timer,
    calls: int = 5,
    warm_up: int = 3,
) -> CallProfile:
    """Time a few calls as they are, and have a runtime tell what a few others spend their time on.

    Args:
        call: what is explained.
        told_by: makes so many calls of the same; returns the kind and the seconds of each operator that ran, and the
            seconds of all calls.
        renew: what is done before each call and not timed.
        timer: for the calls that nobody looks at.
        calls: how many are looked at, and how many timed.
        warm_up: how many calls of both come before.
    """
    for _ in range(warm_up):
        renew()
        call()
    plain = [_timed(call, renew, timer) for _ in range(calls)]
    ran, took_s = told_by(calls)
    spans = [(ProfiledSpan(name, 0, 0), round(seconds / _NS)) for name, seconds in ran]
    operators = _by_name(spans, calls)
    return CallProfile(
        operators=_heaviest(operators),
        rest_s=max(0.0, took_s / calls - sum(each.self_s for each in operators)),
        plain_s=statistics.median(plain),
        profiled_s=took_s / calls,
        by_runtime=True,
        calls=calls,
    )


@contextmanager
def marked(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Put a range around the calls of some layers; of those within each other around the outermost."""
    open_ranges: list[Any] = []

    def enter(*_: object) -> None:
        open_ranges.append(record_function(RANGE) if not open_ranges else None)
        if open_ranges[-1] is not None:
            open_ranges[-1].__enter__()

    def leave(*_: object) -> None:
        if (opened := open_ranges.pop()) is not None:
            opened.__exit__(None, None, None)

    hooks = [
        hook
        for layer in layers
        for hook in (
            layer.register_forward_pre_hook(enter),
            layer.register_forward_hook(leave, always_call=True),
        )
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def self_times(spans: Sequence[ProfiledSpan]) -> list[tuple[ProfiledSpan, int]]:
    """Return each span of one thread with the nanoseconds that it takes itself, without those within it."""
    own: list[int] = []
    ordered = sorted(spans, key=lambda span: (span.start_ns, -span.end_ns))
    around: list[int] = []
    for place, span in enumerate(ordered):
        own.append(span.end_ns - span.start_ns)
        while around and ordered[around[-1]].end_ns <= span.start_ns:
            around.pop()
        if around:
            own[around[-1]] -= min(span.end_ns, ordered[around[-1]].end_ns) - span.start_ns
        around.append(place)
    return list(zip(ordered, own, strict=True))


@contextmanager
def _profiled(accelerator: str) -> Iterator[list[Any]]:
    """Yield a list that holds the profiler's events once the block has ended."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it reports each start and stop on stderr
    found: list[Any] = []
    with profile(use_kineto=True, use_device=accelerator or None) as it:
        yield found
    assert it.kineto_results is not None
    found.extend(it.kineto_results.events())


def _spans(events: Sequence[Any], *, of_device: bool) -> list[ProfiledSpan]:
    """Return what ran on the accelerator, or the host's operators within the call, in the thread that called."""
    host = [event for event in events if event.device_type().name == _HOST]
    whole = next(event for event in host if event.name() == _CALL)
    if of_device:
        return [
            ProfiledSpan(event.name(), event.start_ns(), event.end_ns())
            for event in events
            if event.device_type().name != _HOST and not (event.is_user_annotation() or event.name() in {_CALL, RANGE})
        ]
    return [
        ProfiledSpan(event.name(), event.start_ns(), event.end_ns())
        for event in host
        if event.start_thread_id() == whole.start_thread_id()
        and whole.start_ns() <= event.start_ns()
        and event.end_ns() <= whole.end_ns()
    ]


def _timed(call: Call, renew: Call, timer: Timer) -> float:
    renew()
    return timer.sample(call, 1).ns * _NS


def _union_ns(spans: Sequence[ProfiledSpan]) -> int:
    """Return how long at least one of some spans lasted."""
    busy = until = 0
    for span in sorted(spans, key=lambda each: each.start_ns):
        busy += max(0, span.end_ns - max(span.start_ns, until))
        until = max(until, span.end_ns)
    return busy


def _by_name(spans: Sequence[tuple[ProfiledSpan, int]], calls: int) -> list[OperatorTime]:
    took: dict[str, int] = defaultdict(int)
    ran: dict[str, int] = defaultdict(int)
    for span, own_ns in spans:
        took[span.name[:_LONGEST_NAME]] += own_ns
        ran[span.name[:_LONGEST_NAME]] += 1
    found = [OperatorTime(name=name, self_s=took[name] * _NS / calls, launches=ran[name] / calls) for name in took]
    return sorted(found, key=lambda each: (-each.self_s, each.name))


def _heaviest(operators: Sequence[OperatorTime]) -> tuple[OperatorTime, ...]:
    others = operators[MOST_OPERATORS:]
    if not others:
        return tuple(operators)
    taken, ran = sum(each.self_s for each in others), sum(each.launches for each in others)
    return (*operators[:MOST_OPERATORS], OperatorTime(name="all others", self_s=taken, launches=ran))
