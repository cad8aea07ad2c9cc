"""What a pickle would make, worked out before torch reads it: how deep, how often the same, and at what it would call.

torch's reader for weights alone bounds what is called and not how much comes of it. A few bytes ask for 20 GB
(``bytearray``), a tuple of itself twice, 60 times over, never ends being hashed as the key of a dictionary, and one of
itself three million deep overflows the stack in doing so. Here the same steps are gone through with a note in place of
each object. What torch does not know it refuses itself.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from io import BufferedReader, BytesIO
from typing import Any

_MOST_STEPS = 5_000_000
_MOST_BRANCHES = 10_000_000
"""Objects within one, each as often as it is there; the largest checkpoints have a hundred thousand."""
_DEEPEST = 100
_KEYS = frozenset({"global", "text", "bytes", "int", "float", "constant", "stand-in"})
"""What a dictionary may be asked for at no more than a hash of its own size."""
_LARGEST_KEY = 2**60
"""Whole numbers above it can be made up to have all the same hash."""
_CALLED = ("torch._utils._rebuild_", "collections.OrderedDict", "torch.Size", "torch.device", "builtins.complex",
           "torch.serialization._get_layout", "_codecs.encode", "torch.nn.parameter.Parameter")  # fmt: skip
_FILLED = ("builtins.set", "collections.Counter", "collections.OrderedDict")
"""Called with what they take for keys."""
_OLD = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Modules by the names of Python 2, as torch writes them."""


class CostlyError(ValueError):
    """A pickle would take more memory, time or stack than a checkpoint does."""


class UnknownCallError(ValueError):
    """A pickle calls what no checkpoint needs; the message is its name."""


@dataclass(slots=True)
class _Note:
    """What is known of an object."""

    kind: str
    of: Any = None
    """The name of a global or of what made it, or a number."""
    items: list[_Note] = field(default_factory=list)
    depth: int = 0
    branches: int = 1

    def add(self, items: Iterable[_Note]) -> _Note:
        for item in items:
            self.items.append(item)
            self.depth = max(self.depth, item.depth + 1)
            self.branches += item.branches
        if self.depth > _DEEPEST:
            raise CostlyError(f"objects within more than {_DEEPEST} others")
        if self.branches > _MOST_BRANCHES:
            raise CostlyError(f"more than {_MOST_BRANCHES} objects, each as often as it is there")
        return self


def screen(file: BytesIO | BufferedReader, *, size: int, data: Iterable[str] = ()) -> None:
    """Raise unless the pickle that a file is at costs no more than a checkpoint does; the file is behind it then.

    Args:
        file: at a pickle.
        size: of the whole file in bytes: no storage has more values.
        data: names of what stand-ins are made for.

    Raises:
        CostlyError: it takes too much.
        UnknownCallError: it calls what is no part of a checkpoint.
        ValueError: it is damaged.
    """
    machine = _Machine(size=size, data=frozenset(data))
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if count >= _MOST_STEPS:
                raise CostlyError(f"a pickle of more than {_MOST_STEPS} steps")
            step = _STEPS.get(opcode.name)
            if step is None:  # torch refuses it at this very place
                return
            step(machine, argument)
    except (IndexError, KeyError, RecursionError) as error:
        raise ValueError(f"a pickle that takes what it has not put: {error}") from None


class _Machine:
    """The stack and the memory of a pickle."""

    def __init__(self, *, size: int, data: frozenset[str]) -> None:
        self.size, self.data = size, data
        self.stack: list[_Note] = []
        self.below: list[list[_Note]] = []
        self.memory: dict[int, _Note] = {}

    def push(self, kind: str, of: Any = None, items: Iterable[_Note] = ()) -> None:  # noqa: ANN401
        self.stack.append(_Note(kind, of).add(items))

    def pop(self, count: int) -> list[_Note]:
        if len(self.stack) < count:
            raise IndexError(count)
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def pop_mark(self) -> list[_Note]:
        taken, self.stack = self.stack, self.below.pop()
        return taken

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def fill(self, items: list[_Note]) -> None:
        for key in items[::2]:
            _check_key(key)
        self.stack[-1].add(items)

    def name(self, written: str) -> None:
        module, _, name = written.partition(" ")
        self.push("global", f"{_OLD.get(module, module)}.{name}")

    def call(self) -> None:
        called, given = self.pop(2)
        made = str(called.of)
        self._check_call(called, given)
        stands_in = made in self.data
        self.push("stand-in" if stands_in else "bytes" if made == "_codecs.encode" else "made", made, [given])

    def load(self) -> None:
        """Note a storage: its identity names how many values it has."""
        (identity,) = self.pop(1)
        for item in identity.items[4:5]:
            if item.kind == "int" and item.of > self.size:
                raise CostlyError(f"a storage of {item.of} values in a file of {self.size} bytes")
        self.push("made", "storage", [identity])

    def _check_call(self, called: _Note, given: _Note) -> None:
        name, first = str(called.of), given.items[:1]
        if called.kind != "global":
            raise UnknownCallError("what is no name")
        if name in _FILLED:
            _check_filled(first)
        elif name == "torch._tensor._rebuild_from_type_v2":
            self._check_call(given.items[0], given.items[2])
        elif name == "builtins.bytearray":
            if any(one.kind != "bytes" for one in given.items):
                raise CostlyError("bytes of a length that is asked for and not there")
        elif not name.startswith(_CALLED) and name not in self.data and given.items:
            raise UnknownCallError(name.removeprefix("builtins."))


def _check_key(key: _Note) -> None:
    if key.kind not in _KEYS or (key.kind == "int" and abs(key.of) > _LARGEST_KEY):
        raise CostlyError(f"an entry named by {'a large number' if key.kind == 'int' else f'a {key.kind}'}")


def _check_filled(given: list[_Note]) -> None:
    """Check what a set takes for keys, or a dictionary made of pairs."""
    for one in given:
        if one.kind not in {"list", "tuple"}:
            continue
        for item in one.items:
            pair = item.kind in {"list", "tuple"} and len(item.items) == 2
            _check_key(item.items[0] if pair else item)
            for part in item.items if pair else []:  # a set takes the pair itself
                if part.kind == "tuple":
                    raise CostlyError("an entry named by a tuple")


_STEPS: Mapping[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda _, __: None,
    "STOP": lambda _, __: None,
    "MARK": lambda machine, _: machine.mark(),
    "NONE": lambda machine, _: machine.push("constant"),
    "NEWTRUE": lambda machine, _: machine.push("constant"),
    "NEWFALSE": lambda machine, _: machine.push("constant"),
    "BININT": lambda machine, value: machine.push("int", value),
    "BININT1": lambda machine, value: machine.push("int", value),
    "BININT2": lambda machine, value: machine.push("int", value),
    "LONG1": lambda machine, value: machine.push("int", value),
    "BINFLOAT": lambda machine, _: machine.push("float"),
    "BINUNICODE": lambda machine, _: machine.push("text"),
    "SHORT_BINSTRING": lambda machine, _: machine.push("bytes"),
    "EMPTY_TUPLE": lambda machine, _: machine.push("tuple"),
    "EMPTY_LIST": lambda machine, _: machine.push("list"),
    "EMPTY_DICT": lambda machine, _: machine.push("dict"),
    "EMPTY_SET": lambda machine, _: machine.push("set"),
    "TUPLE": lambda machine, _: machine.push("tuple", items=machine.pop_mark()),
    "TUPLE1": lambda machine, _: machine.push("tuple", items=machine.pop(1)),
    "TUPLE2": lambda machine, _: machine.push("tuple", items=machine.pop(2)),
    "TUPLE3": lambda machine, _: machine.push("tuple", items=machine.pop(3)),
    "APPEND": lambda machine, _: (item := machine.pop(1)) and machine.stack[-1].add(item),
    "APPENDS": lambda machine, _: (items := machine.pop_mark(), machine.stack[-1].add(items)),
    "SETITEM": lambda machine, _: machine.fill(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.fill(machine.pop_mark()),
    "GLOBAL": lambda machine, written: machine.name(written),
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: (state := machine.pop(1)) and machine.stack[-1].add(state),
    "BINPERSID": lambda machine, _: machine.load(),
    "BINPUT": lambda machine, place: machine.memory.__setitem__(place, machine.stack[-1]),
    "LONG_BINPUT": lambda machine, place: machine.memory.__setitem__(place, machine.stack[-1]),
    "BINGET": lambda machine, place: machine.stack.append(machine.memory[place]),
    "LONG_BINGET": lambda machine, place: machine.stack.append(machine.memory[place]),
}
"""Those steps that torch's reader takes, each on a machine with its argument."""
