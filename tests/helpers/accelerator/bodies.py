"""What holds of any accelerator, as functions of its name. Run in a process of its own: ``bodies.py DEVICE`` says, as
JSON, what each came to, empty for well. Those under FAKE need to know more of the device than it tells."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from attnbench import devices
from attnbench.devices import events
from attnbench.devices.clock import EVENTS, HOST, WaitingTimer
from attnbench.probes.memory import peak
from attnbench.selfcheck import engine
from attnbench.worker.events import outcome


def heads(device: str, tokens: int = 64) -> Tensor:
    return torch.randn(1, 2, tokens, 16, device=devices.of(device).where)


def attention(q: Tensor) -> Tensor:
    return (q @ q.mT).softmax(-1) @ q


def the_peak_is_that_counted_by_hand(device: str) -> None:
    q = heads(device, 256)
    found = peak(lambda: attention(q), device=device)
    assert found.peak_bytes == 2 * 2 * 256 * 256 * 4, found  # scores and their softmax, of two heads
    assert found.counted in {"requested_bytes", "allocated_bytes"}


def events_are_used_where_they_agree_with_the_host(device: str) -> None:
    timer = devices.of(device).timer()
    assert timer.clock == EVENTS or timer.clock.startswith(HOST), timer.clock
    assert timer.sample(lambda: attention(heads(device)), 1).ns > 0


def it_is_named_and_described(device: str) -> None:
    on = devices.of(device)
    assert device in devices.present()
    assert on.describe().name == on.model
    assert on.free_bytes() > 0


def the_engine_finds_known_ratios(device: str) -> None:
    found = engine.run(repeats=1, device=device, seed=0)
    assert {trial.truth for trial in found.trials} == {1, 2}


def a_call_takes_what_its_operators_cost(device: str) -> None:
    x = heads(device)
    torch.fake.cost(0.02)
    try:
        on = devices.of(device)
        for timer in (on.by_events(), WaitingTimer(on._waiter())):
            assert timer.sample(lambda: x + 1, 3).ns >= 3 * 20_000_000
    finally:
        torch.fake.cost(0)


def a_timer_that_does_not_wait_is_found(device: str) -> None:
    """With the wait taken out a debt of a minute goes unseen, and nobody pays it."""
    x, before = heads(device), torch.fake.waits()
    torch.fake.cost(60)
    took = WaitingTimer(lambda: None).sample(lambda: x + 1, 1).ns
    torch.fake.cost(0)
    torch.fake.forgive()
    assert took < 60e9
    assert torch.fake.waits() == before
    timer = WaitingTimer(devices.of(device)._waiter())
    timer.sample(lambda: x + 1, 1)
    assert torch.fake.waits() == before + 2, "before a sample, and until it is done"


def events_that_lie_are_not_used(device: str) -> None:
    x = heads(device)
    on = devices.of(device)
    said = {}
    torch.fake.cost(0.02)  # The device's own time is most of a call's, on a busy host too.
    try:
        for how in ("frozen", "backwards", "refused", "good"):
            torch.fake.events(how)
            said[how] = events.doubt(on.by_events(), WaitingTimer(on._waiter()), lambda: x @ x.mT)
    finally:
        torch.fake.cost(0)
    assert "0 ms" in said["frozen"], said
    assert "-" in said["backwards"], said
    assert "no events" in said["refused"], said
    assert not said["good"], said


def a_type_that_it_lacks_is_unsupported(device: str) -> None:
    with pytest.raises(TypeError) as raised:
        torch.ones(2, device=device).double()
    assert outcome(raised.value) == ("unsupported", str(raised.value))


def memory_that_runs_out_is_called_that(device: str) -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**40, device=device)
    assert outcome(raised.value)[0] == "out-of-memory"


def a_device_that_is_lost_is_known_to_be(device: str) -> None:
    on = devices.of(device)
    assert not on.lost()
    torch.fake.lose(on.where.index)
    lost = on.lost()
    torch.fake.find(on.where.index)
    assert lost
    assert not on.lost()


ANY: tuple[Callable[[str], None], ...] = (
    the_peak_is_that_counted_by_hand,
    events_are_used_where_they_agree_with_the_host,
    it_is_named_and_described,
    memory_that_runs_out_is_called_that,
    the_engine_finds_known_ratios,
)
FAKE: tuple[Callable[[str], None], ...] = (
    a_call_takes_what_its_operators_cost,
    a_timer_that_does_not_wait_is_found,
    events_that_lie_are_not_used,
    a_type_that_it_lacks_is_unsupported,
    a_device_that_is_lost_is_known_to_be,
)


def main(device: str) -> None:
    devices.of(device).set_up(threads=1)
    found = {}
    for body in (*ANY, *(FAKE if device.startswith("fake") else ())):
        try:
            body(device)
            found[body.__name__] = ""
        except Exception:
            found[body.__name__] = traceback.format_exc()
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
