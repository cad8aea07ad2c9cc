"""The profile of a site: its kinds of machines, named once in a TOML file, and how each engine asks for them.

A table ``[kinds.NAME]`` for each kind, in it a table for each engine; a table ``[ENGINE]`` for what holds of all kinds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnbench import engines, files
from attnbench.advice.quantities import quantity
from attnbench.devices import names
from attnbench.engines.engine import Engine
from attnbench.errors import AttnbenchError, UsageError, did_you_mean
from attnbench.fleet import kinds as fleet_kinds
from attnbench.fleet.kinds import HardwareKind
from attnbench.ranges import whole
from attnbench.reading import MisreadError, structured

_KINDS = "kinds"
MACHINES = whole(1, 1000, "machines")
"""At once: arrays of Slurm have often no more than a thousand jobs."""
_THREADS = whole(0, 4096, "threads")
_HEADER = re.compile(r"\s*\[+\s*(?P<keys>[^\]]+?)\s*\]+\s*(#.*)?")
_KEY = re.compile(r"\s*(?P<key>[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')\s*=")
_NAMED = re.compile(r"unknown name '(?P<unknown>[^']*)'|(?P<name>[\w-]+)[^:]*: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class _KindTable:
    """What a profile may say of a kind of hardware, tables of engines aside."""

    device: str = ""
    named: str = ""
    threads: int = 0
    memory: str = ""
    machines: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteKind:
    """A kind of machines of a site."""

    hardware: HardwareKind
    machines: int = 1
    """At most so many workers at once."""
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What is said of it by the names of engines."""

    @property
    def told(self) -> bool:
        """Whether workers take the engine's word for it, where nothing says what the hardware calls itself."""
        return not self.hardware.named


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteProfile:
    """What a profile says; nothing where there is none."""

    kinds: Mapping[str, SiteKind] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What holds of all kinds, by the names of engines."""

    @property
    def hardware(self) -> Mapping[str, HardwareKind]:
        """The kinds of hardware by their names."""
        return {name: kind.hardware for name, kind in self.kinds.items()}

    def options(self, engine: type[Engine], kind: str = "") -> Any:  # noqa: ANN401 - each engine's own
        """Return what is said to an engine, of a kind before what holds of all."""
        of_kind = self.kinds[kind].tables.get(engine.name, {}) if kind in self.kinds else {}
        return structured({**self.tables.get(engine.name, {}), **of_kind}, engine.Options)


def read(path: Path | None) -> SiteProfile:
    """Return what a profile says; nothing if there is none.

    Raises:
        UsageError: it cannot be read, or says what cannot be; all its mistakes, each with its line.
    """
    if path is None:
        return SiteProfile()
    try:
        text, content = files.text_of(path), files.toml_of(path)
    except MisreadError as error:
        raise UsageError(*error.mistakes) from None
    reading = _Reading(path=path, lines=text.splitlines())
    found = reading.site(content)
    if reading.mistakes:
        raise UsageError(*reading.mistakes)
    return found


@dataclass(slots=True, kw_only=True)
class _Reading:
    """A profile that is being read."""

    path: Path
    lines: list[str]
    mistakes: list[str] = field(default_factory=list)

    def site(self, content: Mapping[str, Any]) -> SiteProfile:
        known = engines.names()
        for name in content.keys() - {_KINDS, *known}:
            self._add((), f"unknown name {name!r}; {did_you_mean(name, [_KINDS, *known])}", name)
        tables = {name: self._engine((name,), content[name], name) for name in known if name in content}
        kinds = self._table((_KINDS,), content.get(_KINDS, {}))
        return SiteProfile(kinds={name: self._kind(name, one) for name, one in kinds.items()}, tables=tables)

    def _kind(self, name: str, content: object) -> SiteKind:
        where, known = (_KINDS, name), engines.names()
        table = self._table(where, content)
        tables = {each: self._engine((*where, each), table[each], each) for each in known if each in table}
        read = self._structured(where, {key: value for key, value in table.items() if key not in known}, _KindTable)
        if read is None:
            return SiteKind(hardware=HardwareKind(name=name, device=""))
        for key, value, within in (("machines", read.machines, MACHINES), ("threads", read.threads, _THREADS)):
            if not within.holds(value):
                self._add(where, f"{key}: expected {within.words}, got {value}", key)
        device = read.device or names.device_of(name)
        if not device:
            self._add(where, 'nothing says which device that is; write device = "cpu", or whichever it is to torch')
        try:
            fleet_kinds.read([f"{name}={device or names.HOST}"], {})
        except UsageError as error:
            for mistake in error.mistakes:
                self._add(where, mistake.removeprefix("--hardware").strip())
        hardware = HardwareKind(
            name=name,
            device=device,
            named=read.named,
            threads=read.threads,
            memory_bytes=self._bytes(where, read.memory),
        )
        return SiteKind(hardware=hardware, machines=read.machines, tables=tables)

    def _engine(self, where: tuple[str, ...], content: object, name: str) -> Mapping[str, Any]:
        table = self._table(where, content)
        try:
            options = engines.of(name).Options
        except AttnbenchError as error:
            self._add(where, str(error))
            return {}
        return {} if self._structured(where, table, options) is None else table

    def _structured(self, where: tuple[str, ...], table: Mapping[str, Any], kind: type) -> Any:  # noqa: ANN401
        try:
            return structured(table, kind)
        except MisreadError as error:
            for mistake in error.mistakes:
                named = _NAMED.match(mistake)
                self._add(where, mistake, (named["unknown"] or named["name"]) if named else "")
            return None

    def _table(self, where: tuple[str, ...], content: object) -> Mapping[str, Any]:
        if isinstance(content, dict):
            return content
        self._add(where[:-1], f"{where[-1]}: expected a table, [{'.'.join(where)}]", where[-1])
        return {}

    def _bytes(self, where: tuple[str, ...], text: str) -> int:
        try:
            return int(quantity(text, "memory_peak_bytes")) if text else 0
        except (ValueError, OverflowError) as error:
            self._add(where, f"memory: {error}", "memory")
            return 0

    def _add(self, where: tuple[str, ...], mistake: str, key: str = "") -> None:
        """Note a mistake in a table, or in one of its keys."""
        line = _line_of(self.lines, (*where, key) if key else where)
        placed = (f"{self.path}", f"line {line}" if line else "", f"[{'.'.join(where)}]" if where else "")
        self.mistakes.append(f"{', '.join(filter(None, placed))}: {mistake}")


def _line_of(lines: list[str], where: tuple[str, ...]) -> int:
    """Return in which line of a TOML file a key or a table is, or else what it is within; 0 where none is found."""
    best, found, table = 0, 0, tuple[str, ...]()
    for number, line in enumerate(lines, start=1):
        if header := _HEADER.fullmatch(line):
            table = here = tuple(part.strip().strip("\"'") for part in header["keys"].split("."))
        elif key := _KEY.match(line):
            here = (*table, key["key"].strip("\"'"))
        else:
            continue
        if len(here) > best and where[: len(here)] == here:
            best, found = len(here), number
    return found
