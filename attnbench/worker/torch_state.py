"""The switches of torch that are shared by everything in a process: what a plugin changed, and undoing it.

A mechanism that sets them changes what is measured of the others, and what they compute.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from attnbench import devices
from attnbench.devices.switch import Switch


def _set_default_device(device: torch.device) -> None:
    # Naming the CPU would send every call of torch through a mode in Python, which the default of None does not.
    torch.set_default_device(None if device == torch.device("cpu") else device)


SWITCHES: Mapping[str, Switch] = {
    "threads": Switch(read=torch.get_num_threads, write=torch.set_num_threads),
    "default dtype": Switch(read=torch.get_default_dtype, write=torch.set_default_dtype),
    "default device": Switch(read=torch.get_default_device, write=_set_default_device),
    "grad mode": Switch(read=torch.is_grad_enabled, write=torch.set_grad_enabled),
    "anomaly detection": Switch(read=torch.is_anomaly_enabled, write=torch.autograd.set_detect_anomaly),
    "deterministic algorithms": Switch(
        read=torch.are_deterministic_algorithms_enabled, write=torch.use_deterministic_algorithms
    ),
    "float32 matmul precision": Switch(
        read=torch.get_float32_matmul_precision, write=torch.set_float32_matmul_precision
    ),
    "denormals flushed": Switch(read=lambda: sys.float_info.min / 2 == 0, write=torch.set_flush_denormal),
}
"""Those that no kind of device has for itself."""


def switches() -> dict[str, Switch]:
    """Return every switch by what a person calls it, those of each kind of device included."""
    found = dict(SWITCHES)
    for kind in devices.kinds():
        found |= kind.switches
    return found


def _read(switch: Switch) -> object:
    """Return a setting; torch refuses to read by its older interface what was set by its newer one."""
    try:
        value: object = switch.read()
    except RuntimeError:
        return "what torch's newer interface was told"
    return value


@contextmanager
def restored(*, seed_included: bool = True) -> Iterator[list[str]]:
    """Undo what is changed within, and say it in the list that is given: ``threads from 1 to 8``.

    The list is filled when the context is left, whether by an exception or not. Of the random state, only a new seed
    is a change; drawing numbers is not.

    Args:
        seed_included: whether a new seed is undone as well; not where seeding is the harness's own doing.
    """
    known = switches()
    before = {name: _read(switch) for name, switch in known.items()}
    seed, random = torch.initial_seed(), torch.get_rng_state()
    changes: list[str] = []
    try:
        yield changes
    finally:
        changes += _undo(known, before)
        if seed_included:
            changes += _undo_seed(seed, random)


def _undo(known: Mapping[str, Switch], before: Mapping[str, object]) -> list[str]:
    changes = []
    for name, was in before.items():
        now = _read(known[name])
        if now != was:
            changes.append(f"{name} from {was} to {now}")
            known[name].write(was)
    return changes


def _undo_seed(seed: int, random: Tensor) -> list[str]:
    now = torch.initial_seed()
    if now == seed:
        return []
    torch.set_rng_state(random)
    return [f"seed from {seed} to {now}"]
