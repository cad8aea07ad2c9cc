"""Looks at the mechanisms and devices of a sweep before anything runs, in a process of its own.

Plugins are strangers: importing one may hang, print, or end the process. The parent asks, a child
(``python -m attnbench.plan.preflight``) loads and answers, and whoever kills the child is named.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from attnbench.child import last_line
from attnbench.errors import AttnbenchError, DataError, PluginError, UsageError
from attnbench.plugins import options as option_syntax
from attnbench.plugins.registry import discover
from attnbench.record import Options

Size: TypeAlias = tuple[int, int]
"""Height and width in pixels."""

LOAD_TIMEOUT_S = 120.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
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
    timeout_s: float = LOAD_TIMEOUT_S,
) -> Survey:
    """Load what is wanted in a child and return what it found; a plugin that kills or hangs it is a mistake.

    Args:
        wanted: mechanisms and networks.
        dataset: what mechanisms are trained and networks evaluated on; empty for neither.
        sizes: height and width of the images that networks with a checkpoint must take it at.
        timeout_s: how long the child may say nothing; it is ended after at most twice that.
    """
    findings: list[Finding] = []
    devices: tuple[str, ...] = ("cpu",)
    mistakes: tuple[str, ...] = ()
    left = list(wanted)
    while True:
        answers, ended = _ask(left, {"dataset": dataset, "sizes": list(sizes)}, timeout_s)
        devices = tuple(next((a["devices"] for a in answers if "devices" in a), devices))
        mistakes = tuple(next((a["mistakes"] for a in answers if "mistakes" in a), mistakes))
        done = [_finding(answer["finding"]) for answer in answers if "finding" in answer]
        findings += done
        left = left[len(done) :]
        if not left:
            return Survey(findings=tuple(findings), devices=devices, mistakes=mistakes)
        blamed = left.pop(0)
        findings.append(Finding(wanted=blamed, mistakes=(f"{blamed.spec}: loading it {ended}; leave it out",)))


def _ask(wanted: Sequence[Wanted], others: dict[str, Any], timeout_s: float) -> tuple[list[dict[str, Any]], str]:
    with tempfile.TemporaryDirectory(prefix="attnbench-") as folder:
        question, answer, log = (Path(folder) / name for name in ("question.json", "answer.jsonl", "stderr"))
        question.write_text(json.dumps({"wanted": [asdict(one) for one in wanted], **others}))
        answer.touch()
        status = _run(question, answer, log, timeout_s)
        said = last_line(log)
        ended = f"ended the process with status {status}{f' ({said})' if said else ''}"
        if status is None:
            ended = f"did not end within {timeout_s:g} s"
        return [json.loads(line) for line in answer.read_text().splitlines()], ended


def _run(question: Path, answer: Path, log: Path, timeout_s: float) -> int | None:
    """Run the child, end what it leaves behind, and return its exit status, None if it said nothing for too long."""
    with log.open("wb") as printed:  # a pipe would be held open by whatever the child leaves behind
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "attnbench.plan.preflight", str(question), str(answer)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=printed,
            start_new_session=True,
        )
    heard = 0
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(timeout_s)
            if answer.stat().st_size == heard:
                return None
            heard = answer.stat().st_size
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _finding(fields: dict[str, Any]) -> Finding:
    fields["wanted"] = Wanted(**fields["wanted"])
    fields["backends"], fields["mistakes"] = tuple(fields["backends"]), tuple(fields["mistakes"])
    return Finding(**fields)


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
    from attnbench.accuracy import evaluation  # noqa: PLC0415
    from attnbench.accuracy.data import datasets  # noqa: PLC0415 - torch

    classes = None
    try:
        if name and not all(one.network for one in wanted):
            datasets.check(name)
        if name.startswith(evaluation.PREFIX) and any(one.checkpoint for one in wanted):
            classes = evaluation.find(name.removeprefix(evaluation.PREFIX)).classes
    except DataError as error:
        return _Data(sizes=sizes), [f"--accuracy {name}: {error}"]
    return _Data(sizes=sizes, classes=classes), []


def _answer(question: Path, answer: Path) -> None:
    from attnbench import devices  # noqa: PLC0415 - its kinds import torch

    with answer.open("a") as out:

        def say(message: dict[str, Any]) -> None:
            out.write(json.dumps(message) + "\n")
            out.flush()

        asked = json.loads(question.read_text())
        say({"devices": devices.present()})
        everything = [Wanted(**fields) for fields in asked["wanted"]]
        data, mistakes = _look_at_data(asked["dataset"], asked["sizes"], everything)
        say({"mistakes": mistakes})
        for wanted in everything:
            try:
                finding = _examine(wanted, data)
            except AttnbenchError as error:
                finding = Finding(wanted=wanted, mistakes=(str(error),))
            say({"finding": asdict(finding)})


if __name__ == "__main__":
    _answer(Path(sys.argv[1]), Path(sys.argv[2]))
    os._exit(0)  # everything is said; a thread that a plugin has started would keep the process
