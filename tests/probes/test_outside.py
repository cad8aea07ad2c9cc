"""Memory past torch's allocator is seen, and honest layers have none."""

from __future__ import annotations

import ctypes
import mmap
import sys
from importlib.metadata import entry_points

import numpy as np
import pytest
import torch
from torch import nn

from attnbench.mechanism import option_defaults
from attnbench.models import calls, subject
from attnbench.plugins.registry import discover
from attnbench.probes import memory
from attnbench.probes.outside import outside
from attnbench.record import Cell, Mode, Scope

ROOM = 8 * 2**20
INSTALLED = entry_points(group="attnbench.mechanisms")
BUILT_INS = sorted(each.name for each in INSTALLED if each.value.startswith("attnbench.mechanisms."))
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say what is in use")


def in_numpy() -> None:
    room = np.ones(ROOM, dtype=np.uint8)
    room += 1


def mapped() -> None:
    room = mmap.mmap(-1, ROOM)
    room[0] = 1
    room.close()


def from_the_library() -> None:
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    room = ctypes.c_void_p(library.malloc(ctypes.c_size_t(ROOM)))
    ctypes.memset(room, 1, ROOM)
    library.free(room)


def in_torch() -> None:
    torch.ones(ROOM, dtype=torch.uint8).add_(1)


def found(call, peak_bytes: int = 0) -> int | None:
    call()
    return outside(call, forget=lambda: None, peak_bytes=peak_bytes)


@pytest.mark.parametrize("call", [in_numpy, mapped, from_the_library])
def test_what_is_taken_past_torch_is_seen(call) -> None:
    assert found(call) == pytest.approx(ROOM, rel=0.1)


def test_what_torch_hands_out_is_not_outside() -> None:
    assert found(in_torch, peak_bytes=ROOM) == 0


def test_a_little_is_not_said() -> None:
    assert found(in_numpy, peak_bytes=ROOM * 21) == 0


@pytest.mark.parametrize(("looks", "said"), [([0], 0), ([ROOM, 0], 0), ([ROOM, 2 * ROOM], ROOM)])
def test_what_is_taken_while_one_look_lasts_alone_is_not_said(
    looks: list[int], said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may have taken it."""
    to_come = iter(looks)
    monkeypatch.setattr("attnbench.probes.outside._held", lambda *_, **__: next(to_come))
    assert outside(in_torch, forget=lambda: None, peak_bytes=0) == said
    assert not list(to_come)


def test_a_tracer_that_was_there_is_there_again() -> None:
    before = sys.gettrace()
    found(in_torch, peak_bytes=ROOM)
    assert sys.gettrace() is before


@pytest.mark.parametrize("mode", [Mode.INFER, Mode.TRAIN])
@pytest.mark.parametrize("name", BUILT_INS)
def test_no_built_in_holds_memory_outside(name: str, mode: Mode) -> None:
    mechanism = discover().find(name).load()
    options = {key: value for key, value in option_defaults(mechanism).items() if key != "backend"}
    cell = Cell(
        mechanism=name, scope=Scope.LAYER, mode=mode, height=224, width=224, stage=2, dim=192, heads=6, depth=1,
        options=options,
    )  # fmt: skip
    asked = subject.MechanismSubject(cell=cell, mechanism=mechanism)
    model, x = asked.build(), asked.example().requires_grad_(mode is Mode.TRAIN)
    assert isinstance(model, nn.Module)
    forget = calls.forget(model, x)
    call = calls.call(cell, model, x, forget=forget)
    peak = memory.peak(call, device="cpu", forget=forget).peak_bytes
    assert outside(call, forget=forget, peak_bytes=peak) == 0
