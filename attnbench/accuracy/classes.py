"""Which number a folder of images has as a class: the checkpoint's own, or that of an order of names.

Folders named 0 to 11 are in another order for torchvision, by text, than for timm, by the numbers in their names. Most
checkpoints do not say which they were trained in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from attnbench import files
from attnbench.errors import DataError, did_you_mean
from attnbench.reading import MisreadError, from_json

NATURAL, TEXT = "natural", "text"
OWN = "checkpoint"
"""What an accuracy's order of classes is called where the checkpoint says it."""
_ORDERS = {NATURAL: "the order of timm", TEXT: "the order of torchvision's ImageFolder"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """The number of each folder as a class."""

    numbers: Mapping[str, int]
    order: str
    """``natural``, ``text``, ``checkpoint``, or the file that says it."""
    remark: str = ""
    """What a reader must know of it, after the word accuracy; empty for nothing."""
    other: Mapping[str, int] = field(default_factory=dict)
    """What the other usual order would make of the folders; empty where it makes the same, or nobody needs to ask."""


def number(names: Sequence[str], *, own: Sequence[str], asked: str, outputs: int) -> Numbering:
    """Return the numbers of folders as classes of a network.

    Args:
        names: of the folders.
        own: of the network's classes, as its checkpoint has them; empty where it does not say.
        asked: ``natural``, ``text``, or a file with a class a line; empty for nothing.
        outputs: of the network.

    Raises:
        DataError: the folders are not the network's classes.
    """
    if len(own) == outputs and set(names) & set(own):
        return _listed(names, own, OWN, "the checkpoint")
    if asked and asked not in _ORDERS:
        listed = read(Path(asked))
        if len(listed) != outputs:
            raise DataError(f"--class-order {asked} names {len(listed)} classes, its head has {outputs}")
        return _listed(names, listed, asked, f"--class-order {asked}")
    if len(names) != outputs:
        raise DataError(
            f"its head has {outputs} classes, the images are of {len(names)}; give the folder of images that it was "
            "trained for, an empty folder for each class that is not there, or --class-order FILE with a class a line"
        )
    found = _ordered(names, asked)
    if len(own) == outputs:
        unlike = f"not by the checkpoint's own classes, of which none is called as a folder is: {', '.join(own[:2])}"
        return replace(found, remark="; ".join(filter(None, [unlike, found.remark])))
    return found


def read(path: Path) -> tuple[str, ...]:
    """Return the classes that a file names: a line each, or JSON as ``["cat", "dog"]`` or ``{"cat": 0, "dog": 1}``.

    Raises:
        DataError: it cannot be read, or names a class twice.
    """
    try:
        text = files.text_of(path.expanduser())
        listed = listing(from_json(text)) if text.lstrip()[:1] in ("[", "{") else tuple(filter(None, text.splitlines()))
    except MisreadError as error:
        raise DataError(f"--class-order {path}: {error}; write natural, text or a file with a class a line") from None
    if not listed or len(set(listed)) < len(listed):
        raise DataError(f"--class-order {path} names no classes, or one twice; write a class a line")
    return listed


def listing(value: object) -> tuple[str, ...]:
    """Return the names of classes in their order, of a list or of a mapping from or to their numbers; empty if none."""
    if isinstance(value, Mapping):
        pairs = list(value.items())
        if all(str(name).isdecimal() and isinstance(of, str) for name, of in pairs):
            pairs = [(of, int(name)) for name, of in pairs]
        if not all(isinstance(name, str) and type(at) is int for name, at in pairs):
            return ()
        by_number = {at: name for name, at in pairs}
        value = [by_number[at] for at in sorted(by_number)] if sorted(by_number) == list(range(len(pairs))) else []
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value):
        return tuple(value) if len(set(value)) == len(value) else ()
    return ()


def digest(asked: str) -> str:
    """Return the first 12 digits of the SHA-256 of the file that an order of classes is; empty if it is none."""
    if not asked or asked in _ORDERS:
        return ""
    return hashlib.sha256(files.bytes_of(Path(asked).expanduser())).hexdigest()[:12]


def check_order(asked: str) -> None:
    """Raise DataError unless an order of classes is one of the two, or a file that names some."""
    if asked and asked not in _ORDERS:
        if not Path(asked).expanduser().is_file():
            raise DataError(f"--class-order {asked}: {did_you_mean(asked, [*_ORDERS, 'a file with a class a line'])}")
        read(Path(asked))


def _listed(names: Sequence[str], listed: Sequence[str], order: str, who: str) -> Numbering:
    unknown = [name for name in names if name not in listed]
    if unknown:
        raise DataError(f"no class of {who} is called {', '.join(unknown[:5])}; {did_you_mean(unknown[0], listed)}")
    numbers = {name: listed.index(name) for name in names}
    absent = len(listed) - len(names)
    said = [f"by the classes of {who}"] if order != OWN or numbers != _numbered(names, NATURAL) else []
    said += [f"of {len(names)} of its {len(listed)} classes"] if absent else []
    return Numbering(numbers=numbers, order=order, remark=", ".join(said))


def _ordered(names: Sequence[str], asked: str) -> Numbering:
    order = asked or NATURAL
    numbers, other = _numbered(names, order), _numbered(names, TEXT if order == NATURAL else NATURAL)
    if numbers == other:
        return Numbering(numbers=numbers, order=order)
    said = f"with the classes in {_ORDERS[order]}: {_turned(numbers, other)}"
    if asked:
        return Numbering(numbers=numbers, order=order, remark=said)
    return Numbering(numbers=numbers, order=order, remark=said, other=other)


def _numbered(names: Sequence[str], order: str) -> dict[str, int]:
    from timm.utils.misc import natural_key  # noqa: PLC0415 - seconds to import

    key = str if order == TEXT else natural_key
    return {name: at for at, name in enumerate(sorted(sorted(names), key=key))}


def _turned(numbers: Mapping[str, int], other: Mapping[str, int]) -> str:
    """Return the first two folders that the orders have the other way about."""
    ordered = sorted(numbers, key=lambda name: numbers[name])
    first = next(name for name in ordered if numbers[name] != other[name])
    later = next(name for name in ordered[numbers[first] :] if other[name] < other[first])
    return f"{first} before {later}"
