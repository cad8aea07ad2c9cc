"""Looks at the mechanisms and devices of a sweep before anything runs, in a process of its own.

Plugins are strangers: importing or trying one may hang, print, or end the process. The parent asks, a child
(``python -m attnbench.plan.preflight QUESTION EVENT_FD``) looks at one thing at a time and says each result as
it comes. What kills the child or keeps it too long is a finding as well, and a new child looks at the rest.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from attnbench.child import ENDED, Child, late
from attnbench.errors import AttnbenchError, DataError, PluginError, UsageError
from attnbench.plugins import options as option_syntax
from attnbench.plugins.registry import discover
from attnbench.reading import structured
from attnbench.record import Options, Status
from attnbench.runs.job import FORK, Event, Settings

Size: TypeAlias = tuple[int, int]
"""Height and width in pixels."""

MODULE = "attnbench.plan.preflight"
TIMEOUT_S = Settings().timeout_s
_PHASE = "loading"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A mechanism or network as written on the command line, and the backend that the sweep's axis asks of it."""

    spec: str
    backend: str = ""
    network: bool = False
    checkpoint: str = ""
    """File of a network's weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the child found out about one mechanism or network."""

    wanted: Wanted
    name: str = ""
    options: Options = field(default_factory=dict)
    backends: tuple[str, ...] = ()
    distribution: str = ""
    checkpoint_sha256: str = ""
    """Of the file of a network's weights, its first 12 digits."""
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
    """What is wrong with the data set."""

    def of(self, wanted: Wanted) -> Finding:
        """Return the finding for a mechanism that was asked for."""
        return next(finding for finding in self.findings if finding.wanted == wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Data:
    """What the checkpoints of networks must suit."""

    sizes: Sequence[Size]
    classes: int | None = None
    """Of the images that networks are evaluated on; None where there are none."""


def take(
    wanted: Sequence[Wanted],
    *,
    dataset: str = "",
    sizes: Sequence[Size] = (),
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
        timeout_s: how long looking at one of them may take.
        isolation: how the child starts, FORK or SPAWN.
        watcher: told what is looked at next.
        module: module that does the work.

    Raises:
        PluginError: the child ended before it looked at anything.
        UsageError: the data set killed or hung it.
    """
    look = _Look(wanted=tuple(wanted), dataset=dataset, sizes=tuple(sizes), timeout_s=timeout_s, watcher=watcher)
    with tempfile.TemporaryDirectory(prefix="attnbench-") as folder:
        while not look.over:
            question, log = (Path(folder) / f"{len(look.findings)}.{name}" for name in ("json", "log"))
            question.write_text(json.dumps(look.question))
            with Child(module, str(question), log=log, threads=1, isolation=isolation) as child:
                look.follow(child)
    return Preflight(findings=tuple(look.findings), devices=look.devices, mistakes=look.mistakes)


@dataclass(slots=True, kw_only=True)
class _Look:
    """What is to be looked at, and what was found so far by however many children it takes."""

    wanted: tuple[Wanted, ...]
    dataset: str
    sizes: tuple[Size, ...]
    timeout_s: float
    watcher: Callable[[str], None]
    devices: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    data_seen: bool = False

    @property
    def over(self) -> bool:
        return self.data_seen and len(self.findings) == len(self.wanted)

    @property
    def question(self) -> dict[str, Any]:
        wanted = [asdict(one) for one in self.wanted]
        return {"wanted": wanted, "known": len(self.findings), "dataset": self.dataset, "sizes": self.sizes}

    def follow(self, child: Child) -> None:
        """Take what a child says until it is done, dies or is late."""
        while not self.over:
            if self.data_seen:
                self.watcher(self.wanted[len(self.findings)].spec)
            event = child.next_event(timeout_s=self.timeout_s)
            if event is None:
                self._blame(Status.TIMEOUT, late(_PHASE, self.timeout_s))
                return
            if event is ENDED:
                self._blame(*child.cause_of_death(_PHASE))
                return
            self._take(event)

    def _take(self, event: Event) -> None:
        if event["event"] == "devices":
            self.devices = tuple(event["devices"])
        elif event["event"] == "data":
            self.mistakes, self.data_seen = tuple(event["mistakes"]), True
        else:
            self.findings.append(structured(event["finding"], Finding))

    def _blame(self, status: Status, reason: str) -> None:
        if not self.devices:
            raise PluginError(f"no plugin can be looked at: {reason}")
        if not self.data_seen:
            raise UsageError(f"--accuracy {self.dataset}: {reason}")
        self.findings.append(_lost(self.wanted[len(self.findings)], status, reason))


def _lost(wanted: Wanted, status: Status, reason: str) -> Finding:
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


def _examine(wanted: Wanted, data: _Data) -> Finding:
    try:
        name, given = option_syntax.split(wanted.spec)
        if wanted.network:
            return _with_checkpoint(_examine_network(wanted, name, given), data)
        plugin = discover().find(name)
        mechanism = plugin.load()
        return _resolve(wanted, plugin.name, plugin.distribution, mechanism, given)
    except UsageError as error:
        return Finding(wanted=wanted, mistakes=tuple(f"{wanted.spec}: {mistake}" for mistake in error.mistakes))
    except PluginError as error:
        if isinstance(error.__cause__, SystemExit):
            return _lost(wanted, Status.CRASHED, f"it called sys.exit({error.__cause__.code!r}) while {_PHASE}")
        return Finding(wanted=wanted, mistakes=(str(error),))


def _examine_network(wanted: Wanted, name: str, given: dict[str, str]) -> Finding:
    from attnbench.models import networks  # noqa: PLC0415 - torch

    distribution = networks.find(name)
    options = networks.parse_options(given)
    if options:
        networks.check_options(name, options)
    backend = wanted.backend or networks.BACKENDS[0]
    return Finding(
        wanted=wanted,
        name=name,
        options={"backend": backend} | options,
        backends=networks.BACKENDS,
        distribution=distribution,
    )


def _with_checkpoint(found: Finding, data: _Data) -> Finding:
    """Return a network's finding with the hash of its checkpoint, if it has one.

    Raises:
        UsageError: the checkpoint cannot be read, or does not fit the network or the data.
    """
    if not found.wanted.checkpoint:
        return found
    from attnbench.models import checkpoint  # noqa: PLC0415 - torch

    path = Path(found.wanted.checkpoint).expanduser()
    try:
        digest = checkpoint.check(
            path, network=found.name, options=found.options, sizes=data.sizes, classes=data.classes
        )
    except DataError as error:
        raise UsageError(str(error)) from None
    return replace(found, checkpoint_sha256=digest)


def _resolve(wanted: Wanted, name: str, distribution: str, mechanism: type, given: dict[str, str]) -> Finding:
    backends = option_syntax.choices(mechanism, "backend")
    if wanted.backend in backends:
        given = given | {"backend": wanted.backend}
    resolved = option_syntax.resolve(mechanism, given)
    try:
        mechanism.why_unsupported(_nominal_site(), **resolved)  # type: ignore[attr-defined]
    except ValueError as error:
        raise UsageError(str(error)) from None
    except PluginError as error:
        raise PluginError(f"{name} from {distribution}: {error}") from None
    except Exception as error:
        raise PluginError(
            f"{name} from {distribution}: why_unsupported raised {type(error).__name__}: {error}"
        ) from error
    if wanted.backend and wanted.backend not in backends:
        resolved = resolved | {"backend": wanted.backend}  # kept, so that the cell gets its row: unsupported
    return Finding(wanted=wanted, name=name, options=resolved, backends=backends, distribution=distribution)


def _nominal_site() -> Any:  # noqa: ANN401 - Site, whose module imports torch
    from attnbench.mechanism import Site  # noqa: PLC0415

    return Site(height=56, width=56, dim=96, heads=3, stride=4)


def _look_at_data(name: str, sizes: Sequence[Size], wanted: Sequence[Wanted]) -> tuple[_Data, list[str]]:
    """Return what networks are evaluated on, and what is wrong with it or with what mechanisms are trained on."""
    if not name:
        return _Data(sizes=sizes), []
    from attnbench.accuracy import evaluation  # noqa: PLC0415
    from attnbench.accuracy.data import datasets  # noqa: PLC0415 - torch

    classes = None
    try:
        if not all(one.network for one in wanted):
            datasets.check(name)
        if name.startswith(evaluation.PREFIX) and any(one.checkpoint for one in wanted):
            classes = evaluation.find(name.removeprefix(evaluation.PREFIX)).classes
    except DataError as error:
        return _Data(sizes=sizes), [f"--accuracy {name}: {error}"]
    return _Data(sizes=sizes, classes=classes), []


def _answer(question: Path, say: Callable[[Event], None]) -> None:
    from attnbench import devices  # noqa: PLC0415 - its kinds import torch

    asked = json.loads(question.read_text())
    say({"event": "devices", "devices": devices.present()})
    everything = [structured(each, Wanted) for each in asked["wanted"]]
    data, mistakes = _look_at_data(asked["dataset"], asked["sizes"], everything)
    say({"event": "data", "mistakes": mistakes})
    for wanted in everything[asked["known"] :]:
        try:
            finding = _examine(wanted, data)
        except AttnbenchError as error:
            finding = Finding(wanted=wanted, mistakes=(str(error),))
        say({"event": "finding", "finding": asdict(finding)})


if __name__ == "__main__":
    with os.fdopen(int(sys.argv[2]), "w", buffering=1) as _pipe:
        _answer(Path(sys.argv[1]), lambda event: print(json.dumps(event), file=_pipe))
