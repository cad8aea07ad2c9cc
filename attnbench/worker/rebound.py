"""Functions and methods that a whole process shares: which of them a plugin has put others in the places of.

Compared by identity. What is imported later, or added, is no change; what was there and is another now is one.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

import torch

from attnbench import devices

_ABSENT: Final = object()
_WITH_ALL_BELOW = ("attnbench.", "torch.nn.modules.")
"""Modules of which everything that is loaded below them is looked at too, the harness's own among them."""
_PYTHON = """builtins time json json.encoder json.decoder os posix gc random threading math statistics sys signal
resource io contextlib functools"""
_NUMPY = "numpy numpy.random numpy.linalg numpy.fft"
_TORCH = """torch torch._tensor torch._C torch._C._nn torch._C._linalg torch._C._fft torch._C._special torch.nn
torch.nn.functional torch.nn.init torch.nn.parameter torch.nn.attention torch.linalg torch.fft torch.special
torch.autograd torch.autograd.function torch.autograd.graph torch.autograd.profiler torch.autograd.grad_mode
torch.random torch.accelerator torch.accelerator.memory torch.amp torch.amp.autocast_mode torch.overrides
torch.compiler torch._dynamo torch._inductor torch.utils.checkpoint torch.profiler torch.storage"""
_NAMED = frozenset(f"{_PYTHON} {_NUMPY} {_TORCH} timm.layers timm.models".split())
_SEEDING = "torch.manual_seed"
"""What torch's compiler wraps when it is loaded, to leave it out."""
_OF_A_DEVICE = ("", ".memory", ".random", ".streams")
_MADE_TO_BE_REPLACED = frozenset(
    {"sys.excepthook", "sys.displayhook", "sys.unraisablehook", "sys.breakpointhook", "sys.last_type"}
)
"""Hooks that no figure depends on."""
_TAGGING = "torch._dynamo.mutation_guard"
"""Where torch's compiler has the constructor that it gives all modules when it first compiles."""

Holder = MutableMapping[str, Any] | type
"""Where a name is looked up: the namespace of a module, or a class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebinding:
    """One name that stands for another function than it did."""

    said: str
    """The name as Python writes it: ``torch.nn.functional.scaled_dot_product_attention``."""
    holder: Holder = field(repr=False)
    name: str
    was: object
    now: object

    def undo(self) -> bool:
        """Let the name stand for what it did, and return whether it stood for what it was made to."""
        return _bind(self.holder, self.name, self.was, instead_of=self.now)

    def redo(self) -> bool:
        """Let the name stand for what it was made to, and return whether it stood for what it did."""
        return _bind(self.holder, self.name, self.now, instead_of=self.was)


class Bindings:
    """What shared names stand for when this is made. Takes some ten milliseconds."""

    def __init__(self) -> None:
        self._before = [(said, holder, dict(_names(holder))) for said, holder in _holders()]

    def rebound(self) -> list[Rebinding]:
        """Return the names that stand for something else by now."""
        found = []
        for said, holder, before in self._before:
            names = _names(holder)
            changed = [name for name, was in before.items() if names.get(name, _ABSENT) is not was]
            if len(names) > len(before):
                changed += [name for name in names.keys() - before.keys() if _hides_another(name, holder)]
            for name in changed:
                each = Rebinding(
                    said=f"{said}.{name}",
                    holder=holder,
                    name=name,
                    was=before.get(name, _ABSENT),
                    now=names.get(name, _ABSENT),
                )
                if _matters(each):
                    found.append(each)
        return found


def _matters(found: Rebinding) -> bool:
    if found.said in _MADE_TO_BE_REPLACED or getattr(found.now, "__module__", None) == _TAGGING:
        return False
    if found.said == _SEEDING and getattr(found.now, "__wrapped__", None) is found.was:
        return False
    was = found.now if found.was is _ABSENT else found.was
    return callable(was) or isinstance(was, property | staticmethod | classmethod | ModuleType)


def _hides_another(name: str, holder: Holder) -> bool:
    """Return whether a name that was added is found where an inherited or built-in one was."""
    if isinstance(holder, type):
        return any(name in vars(base) for base in holder.__mro__[1:-1])
    # Python looks there; torch.ops.aten finds its operators when they are first asked for, sum and range among them
    return "__builtins__" in holder and name in vars(builtins)


def _holders() -> Iterator[tuple[str, Holder]]:
    of_devices = {f"torch.{kind.kind}{part}" for kind in devices.kinds() for part in _OF_A_DEVICE}
    looked_at = _NAMED | of_devices
    for name, module in list(sys.modules.items()):
        if module is not None and (name in looked_at or f"{name}.".startswith(_WITH_ALL_BELOW)):
            yield name, vars(module)
            for each in list(vars(module).values()):
                if isinstance(each, type) and each.__module__ == name and each.__flags__ & _MUTABLE_TYPE:
                    yield f"{name}.{each.__qualname__}", each
    yield "torch.ops.aten", vars(torch.ops.aten)


_MUTABLE_TYPE: Final = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: classes written in C have no attributes that could be set."""


def _names(holder: Holder) -> Mapping[str, Any]:
    return vars(holder) if isinstance(holder, type) else holder


def _bind(holder: Holder, name: str, value: object, *, instead_of: object) -> bool:
    stood_for = _names(holder).get(name, _ABSENT)
    if isinstance(holder, type):
        if value is not _ABSENT:
            setattr(holder, name, value)
        elif stood_for is not _ABSENT:
            delattr(holder, name)
    elif value is _ABSENT:
        holder.pop(name, None)
    else:
        holder[name] = value
    return stood_for is instead_of
