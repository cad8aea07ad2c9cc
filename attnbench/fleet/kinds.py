"""Kinds of hardware that a sweep is asked for on: what each is called, and which device it is to torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from attnbench.devices import names
from attnbench.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareKind:
    """A kind of hardware.

    Example:
        >>> h100 = HardwareKind(name="h100", device="cuda:0")
        >>> h100.is_here(["NVIDIA H100 80GB HBM3"])
        True
    """

    name: str
    device: str
    """The device that it is to torch, by its full name."""
    named: str = ""
    """A part of what the hardware calls itself; the kind's own name if empty."""
    threads: int = 0
    """CPU threads that its cells are measured with; 0 for what the sweep asks for."""
    memory_bytes: int = 0
    """Main memory of such a machine; 0 where nobody says."""

    def is_here(self, hardware: Iterable[str]) -> bool:
        """Return whether one of these full names is hardware of this kind."""
        return names.is_named(self.named or self.name, hardware)


ANY = ""
"""The name of no kind: whichever machine comes first."""


def read(written: Sequence[str], known: Mapping[str, HardwareKind]) -> tuple[HardwareKind, ...]:
    """Return the kinds that are asked for: ``h100``, or ``box=cpu`` where the name does not say which device it is.

    Args:
        written: what stood between the commas.
        known: those that a profile names, which go first.

    Raises:
        UsageError: a kind is none, is asked for twice, or nothing says which device it is.
    """
    found, mistakes = list[HardwareKind](), list[str]()
    for text in written:
        name, _, device = text.partition("=")
        if not _NAME.fullmatch(name):
            mistakes.append(f"--hardware {text!r}: expected a name of letters and digits, such as h100, or NAME=DEVICE")
            continue
        kind = known.get(name) if not device else None
        device = device or names.device_of(name)
        if kind is None and not device:
            mistakes.append(
                f"--hardware {name}: nothing says which device that is; write {name}=cpu, or name it in a profile"
            )
            continue
        found.append(kind or HardwareKind(name=name, device=device))
    twice = {kind.name for kind in found if sum(each.name == kind.name for each in found) > 1}
    mistakes += [f"--hardware: {name} is given more than once; give it once" for name in sorted(twice)]
    if mistakes:
        raise UsageError(*mistakes)
    return tuple(found)


def counts_for(measured: str, hardware: str, kind: str, kinds: Mapping[str, HardwareKind]) -> bool:
    """Return whether a row of a cell is a row of it on a kind of hardware.

    Args:
        measured: the kind that the cell was asked for on, or that its machine was told to be; empty for neither.
        hardware: full name of what it was measured on; empty where it never came to that.
        kind: that a row is wanted of; empty for any.
        kinds: that are known, by name.
    """
    return kind in {ANY, measured} or (kind in kinds and kinds[kind].is_here([hardware]))
