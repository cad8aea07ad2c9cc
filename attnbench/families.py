"""Classes of one kind by name, those built in and those of other packages by an entry-point group; imports no torch.

Devices, runtimes and engines are such families. Nothing is imported before a name is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Generic, TypeVar

from attnbench.errors import PluginError, UsageError, did_you_mean

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Family(Generic[T]):
    """The classes that may be named where one of a kind is asked for.

    A built-in name is nobody else's to take.

    Example:
        >>> pear = {"pear": "pathlib:Path"}
        >>> fruits = Family(word="fruit", group="attnbench.fruits", built_in=pear, base="pathlib:PurePath")
        >>> fruits.of("pear").__name__, list(fruits.names())
        ('Path', ['pear'])
        >>> fruits.of("peer")
        Traceback (most recent call last):
        attnbench.errors.UsageError: --fruit 'peer': did you mean pear?
    """

    word: str
    """What one of them is called in errors; with two dashes before it, the option that asks for one."""
    group: str
    """The entry-point group by which other packages bring one: its name, and a class."""
    built_in: Mapping[str, str]
    """Where those are that are built in, as ``module:Class``."""
    base: str
    """The class that each is a subclass of, as ``module:Class``: it may need torch, which is not imported before."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all, those built in first, whether they load or not."""
        return tuple(self.entries())

    def entries(self) -> Mapping[str, EntryPoint]:
        """Return where each is, by name."""
        ours = {name: EntryPoint(name=name, value=value, group=self.group) for name, value in self.built_in.items()}
        return {**ours, **{name: entry for name, entry in installed(self.group).items() if name not in ours}}

    def of(self, name: str) -> type[T]:
        """Return the class of a name.

        Raises:
            PluginError: it belongs to another package and does not load, or is none of its kind.
            UsageError: there is none of that name.
        """
        known = self.entries()
        if name not in known:
            raise UsageError(f"--{self.word} {name!r}: {did_you_mean(name, known)}")
        return self._load(known[name])

    def loaded(self) -> Iterator[type[T]]:
        """Give all that load; one of another package that does not is there for nobody."""
        for entry in self.entries().values():
            try:
                yield self._load(entry)
            except PluginError:
                continue

    def _load(self, entry: EntryPoint) -> type[T]:
        base: type[T] = resolve_name(self.base)
        try:
            found: object = entry.load()
        except Exception as error:  # the code of another package may raise anything
            raise PluginError(f"{self._said(entry)}: {type(error).__name__}: {error}") from error
        if not (isinstance(found, type) and issubclass(found, base)):
            raise PluginError(f"{self._said(entry)}: not a subclass of {self.base.replace(':', '.')}")
        return found

    def _said(self, entry: EntryPoint) -> str:
        return f"{self.word} {entry.name} ({entry.value})"


@cache
def installed(group: str) -> Mapping[str, EntryPoint]:
    """Return what the packages that are installed bring to a group, by name; found out once a process."""
    return MappingProxyType({entry.name: entry for entry in entry_points(group=group)})
