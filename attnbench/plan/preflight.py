"""Looks at the mechanisms and devices of a sweep before anything runs, in a process of its own.

Plugins are strangers: importing or trying one may hang, print, or end the process. The parent asks, a child
(``attnbench.worker.preflight``) looks at one thing at a time and says each result as it comes. What kills the child or
keeps it too long is a finding as well, and a new child looks at the rest.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Final, TypeAlias

from attnbench import inert
from attnbench.child import ENDED, Child, Death, check_torch, late
from attnbench.child.scratch import scratch
from attnbench.errors import PluginError, UsageError
from attnbench.plugins import options as option_syntax
from attnbench.plugins.registry import discover
from attnbench.record import Options, Status
from attnbench.runs.job import FORK, Settings

Size: TypeAlias = tuple[int, int]
"""Height and width in pixels."""

MODULE = "attnbench.worker.preflight"
TIMEOUT_S = Settings().timeout_s
_TEXT = 2000
"""Characters of a mistake or a reason that are kept."""
PHASE = "loading"
"""What a child does all the time, for the reasons of those that it did not survive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A mechanism or network as written on the command line, and the backend that the sweep's axis asks of it."""

    spec: str
    backend: str = ""
    network: bool = False
    checkpoint: str = ""
    """File of a network's weights."""
    class_order: str = ""
    """How the classes of the images are numbered that it is evaluated on, where its checkpoint does not say."""
    alias: str = ""
    """What the user calls it."""
    trained: bool = False
    """Whether a network is to be trained, as mechanisms are."""
    head: str = ""
    """The head that a network's checkpoint has with it; empty where it is of the network alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightQuestion:
    """What a child is asked to look at, in a file of its own."""

    wanted: tuple[Wanted, ...]
    known: int
    """How many of these, the first, were looked at before."""
    dataset: str
    sizes: tuple[Size, ...]
    runtimes: tuple[str, ...] = ()
    """What modules are to be run by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the child found out about one mechanism or network."""

    wanted: Wanted
    name: str = ""
    options: Options = field(default_factory=dict)
    at_default: tuple[str, ...] = ()
    """Names of the options that have their default."""
    backends: tuple[str, ...] = ()
    distribution: str = ""
    checkpoint_sha256: str = ""
    """Of the file of a network's weights, its first 12 digits."""
    class_order_sha256: str = ""
    """Of the file that names the classes of what it is evaluated on, if there is one."""
    mistakes: tuple[str, ...] = ()
    status: Status = Status.OK
    """How its cells end, known before they run, if looking at it killed the child or kept it too long."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """The mechanisms asked for, and the devices that torch sees."""

    findings: tuple[Finding, ...]
    devices: tuple[str, ...]
    mistakes: tuple[str, ...] = ()
    """What is wrong with the data set or a runtime."""

    def of(self, wanted: Wanted) -> Finding:
        """Return the finding for a mechanism that was asked for."""
        return next(finding for finding in self.findings if finding.wanted == wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesSeen:
    """The devices that torch sees, and what is wrong with the runtimes that were asked for."""

    devices: tuple[str, ...]
    mistakes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSeen:
    """What is wrong with the data set."""

    mistakes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is to be said of one mechanism or network."""

    finding: Finding


EVENTS: Final[Mapping[str, type]] = {"devices": DevicesSeen, "data": DataSeen, "finding": Found}


def take(
    wanted: Sequence[Wanted],
    *,
    dataset: str = "",
    sizes: Sequence[Size] = (),
    runtimes: Sequence[str] = (),
    timeout_s: float = TIMEOUT_S,
    isolation: str = FORK,
    watcher: Callable[[str], None] = lambda _: None,
    module: str = MODULE,
) -> Preflight:
    """Load what is wanted in a child and return what it found; whatever kills or hangs the child costs itself alone.

    Args:
        wanted: mechanisms and networks.
        dataset: what mechanisms are trained and networks evaluated on; empty for neither.
        sizes: height and width of the images that networks with a checkpoint must take it at.
        runtimes: what modules are to be run by.
        timeout_s: how long looking at one of them may take.
        isolation: how the child starts, FORK or SPAWN.
        watcher: told what is looked at next.
        module: module that does the work.

    Raises:
        PluginError: the child ended before it looked at anything.
        UsageError: the data set killed or hung it.
    """
    look = _Look(
        wanted=tuple(wanted), dataset=dataset, sizes=tuple(sizes), runtimes=tuple(runtimes), timeout_s=timeout_s,
        watcher=watcher,
    )  # fmt: skip
    with scratch() as folder:
        while not look.over:
            question, log = (folder / f"{len(look.findings)}.{name}" for name in ("json", "log"))
            question.write_text(json.dumps(asdict(look.question)))
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                child = Child(module, str(question), events=EVENTS, log=log, threads=1, isolation=isolation)
            with child:
                if said:  # nothing can be forked, of which a torch that does not import is one reason
                    check_torch()
                for each in said:
                    warnings.warn(each.message, stacklevel=2)
                look.follow(child)
    mistakes = look.of_runtimes + look.mistakes
    return Preflight(findings=tuple(look.findings), devices=look.devices, mistakes=mistakes)


@dataclass(slots=True, kw_only=True)
class _Look:
    """What is to be looked at, and what was found so far by however many children it takes."""

    wanted: tuple[Wanted, ...]
    dataset: str
    sizes: tuple[Size, ...]
    runtimes: tuple[str, ...]
    timeout_s: float
    watcher: Callable[[str], None]
    devices: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()
    of_runtimes: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    data_seen: bool = False
    tried: set[tuple[bool, bool, int]] = field(default_factory=set)
    """How far a look had come where a death struck that nobody answers for."""

    @property
    def over(self) -> bool:
        return self.data_seen and len(self.findings) == len(self.wanted)

    @property
    def question(self) -> PreflightQuestion:
        """What is asked of the next child."""
        return PreflightQuestion(
            wanted=self.wanted, known=len(self.findings), dataset=self.dataset, sizes=self.sizes, runtimes=self.runtimes
        )

    def follow(self, child: Child) -> None:
        """Take what a child says until it is done, dies or is late."""
        while not self.over:
            if self.data_seen:
                self.watcher(self.wanted[len(self.findings)].spec)
            event = child.next_event(timeout_s=self.timeout_s)
            if event is None:
                self._blame(Death(status=Status.TIMEOUT, reason=late(PHASE, self.timeout_s)))
                return
            if event is ENDED:
                self._blame(child.death(PHASE))
                return
            self._take(event, child)

    def _take(self, event: object, child: Child) -> None:
        match event:
            case DevicesSeen():
                self.devices, self.of_runtimes = event.devices, tuple(map(_brief, event.mistakes))
            case DataSeen():
                self.mistakes, self.data_seen = tuple(map(_brief, event.mistakes)), True
            case Found(finding=found) if self.data_seen and found.wanted == self.wanted[len(self.findings)]:
                mistakes = tuple(map(_brief, found.mistakes))
                self.findings.append(replace(found, mistakes=mistakes, reason=_brief(found.reason)))
            case _:
                child.disbelieve("a finding that nobody asked for")

    def _blame(self, death: Death) -> None:
        here = (bool(self.devices), self.data_seen, len(self.findings))
        if (death.from_outside or not self.devices) and here not in self.tried:
            self.tried.add(here)
            return
        if not self.devices:
            check_torch()
            raise PluginError(f"no plugin can be looked at: {death.reason}")
        if not self.data_seen:
            raise UsageError(f"--accuracy {self.dataset}: {death.reason}")
        self.findings.append(lost(self.wanted[len(self.findings)], death.status, death.reason))


def _brief(text: str) -> str:
    return inert.brief(text, most=_TEXT)


def lost(wanted: Wanted, status: Status, reason: str) -> Finding:
    """Return the finding for what cannot be looked at: its options are those given, as they are written."""
    name, given = option_syntax.split(wanted.spec)
    plugin = None if wanted.network else discover().find(name)
    return Finding(
        wanted=wanted,
        name=plugin.name if plugin else name,
        options=given | ({"backend": wanted.backend} if wanted.backend else {}),
        backends=(wanted.backend,) if wanted.backend else (),
        distribution=plugin.distribution if plugin else "",
        status=status,
        reason=reason,
    )
