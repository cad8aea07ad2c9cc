"""The child of the preflight: looks at mechanisms, networks and data one by one, and says each result as it comes.

Run as ``python -m attnbench.worker.preflight QUESTION EVENT_FD``; ``attnbench.plan.preflight`` asks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench import devices, inert, raised, runtimes
from attnbench.accuracy.data.folders import Images
from attnbench.child import voice
from attnbench.errors import AttnbenchError, DataError, PluginError, UsageError
from attnbench.mechanism import Site
from attnbench.models import networks
from attnbench.plan.preflight import PHASE, Finding, PreflightQuestion, Size, Wanted, lost
from attnbench.plugins import options as option_syntax
from attnbench.plugins.registry import discover
from attnbench.reading import structured
from attnbench.record import Status
from attnbench.runs.job import Event

if TYPE_CHECKING:
    from attnbench.worker.surroundings import Surroundings

_NOMINAL_SITE = Site(height=56, width=56, dim=96, heads=3, stride=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Data:
    """What the checkpoints of networks must suit."""

    sizes: Sequence[Size]
    images: Images | None = None
    """What networks are evaluated on."""


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
            return lost(
                wanted, Status.CRASHED, f"it called sys.exit({inert.brief(repr(error.__cause__.code))}) while {PHASE}"
            )
        return Finding(wanted=wanted, mistakes=(str(error),))


def _examine_network(wanted: Wanted, name: str, given: dict[str, str]) -> Finding:
    distribution = networks.find(name)
    options = networks.parse_options(given)
    if options:
        networks.check_options(name, options)
    backend = wanted.backend or networks.BACKENDS[0]
    return Finding(
        wanted=wanted,
        name=name,
        options={"backend": backend} | options,
        at_default=("backend",) if ({"backend": backend} | options)["backend"] == networks.BACKENDS[0] else (),
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
    from attnbench.models import checkpoint  # noqa: PLC0415 - timm

    path = Path(found.wanted.checkpoint).expanduser()
    try:
        if found.wanted.head:
            return replace(found, checkpoint_sha256=_with_head(path, found, data.sizes))
        digest, outputs = checkpoint.check(path, network=found.name, options=found.options, sizes=data.sizes)
    except DataError as error:
        raise UsageError(str(error)) from None
    found = replace(found, checkpoint_sha256=digest)
    return _with_classes(found, data.images, path, outputs) if data.images and outputs else found


def _with_head(path: Path, found: Finding, sizes: Sequence[Size]) -> str:
    """Return the hash of a checkpoint of network and head, after both were loaded at every image size.

    Raises:
        DataError: it cannot be read, or does not fit.
    """
    from attnbench.accuracy.dense import evaluation  # noqa: PLC0415 - torchvision
    from attnbench.models import checkpoint  # noqa: PLC0415 - timm
    from attnbench.models.dense import DenseTask  # noqa: PLC0415

    digest = checkpoint.digest(path)
    for height, width in sizes:
        try:
            evaluation.build(path, DenseTask(found.wanted.head), found.name, found.options, height=height, width=width)
        except DataError:
            raise
        except Exception:  # noqa: S112 - of a size that the network does not take, which is its cell's affair
            continue
    return digest


def _with_classes(found: Finding, images: Images, path: Path, outputs: int) -> Finding:
    """Return a network's finding with the hash of the file that names the classes, if there is one.

    Raises:
        UsageError: the images are of other classes than the network's.
    """
    from attnbench.accuracy import classes, evaluation  # noqa: PLC0415 - a second, where there is a data set only

    asked = found.wanted.class_order
    try:
        evaluation.numbering(images, path, asked=asked, outputs=outputs)
    except DataError as error:
        raise UsageError(f"{path}: {error}") from None
    return replace(found, class_order_sha256=classes.digest(asked))


def _resolve(wanted: Wanted, name: str, distribution: str, mechanism: type, given: dict[str, str]) -> Finding:
    backends = option_syntax.choices(mechanism, "backend")
    if wanted.backend in backends:
        given = given | {"backend": wanted.backend}
    resolved = option_syntax.resolve(mechanism, given)
    try:
        mechanism.why_unsupported(_NOMINAL_SITE, **resolved)  # type: ignore[attr-defined]
    except ValueError as error:
        raise UsageError(str(error)) from None
    except PluginError as error:
        raise PluginError(f"{name} from {distribution}: {error}") from None
    except Exception as error:
        raise PluginError(f"{name} from {distribution}: why_unsupported raised {raised.in_words(error)}") from error
    if wanted.backend and wanted.backend not in backends:
        resolved = resolved | {"backend": wanted.backend}  # kept, so that the cell gets its row: unsupported
    return Finding(
        wanted=wanted,
        name=name,
        options=resolved,
        at_default=option_syntax.at_default(mechanism, resolved),
        backends=backends,
        distribution=distribution,
    )


def _look_at_data(name: str, sizes: Sequence[Size], wanted: Sequence[Wanted]) -> tuple[_Data, list[str]]:
    """Return what networks are evaluated on, and what is wrong with it or with what mechanisms are trained on."""
    if not name:
        return _Data(sizes=sizes), []
    from attnbench.accuracy import evaluation  # noqa: PLC0415 - a second, where there is a data set only
    from attnbench.accuracy.composites.table import is_composite  # noqa: PLC0415
    from attnbench.accuracy.data import datasets  # noqa: PLC0415
    from attnbench.accuracy.dense.table import is_annotated  # noqa: PLC0415

    images = None
    try:
        if is_composite(name) or is_annotated(name) or any(not one.network or one.trained for one in wanted):
            datasets.check(name)
        if name.startswith(evaluation.PREFIX) and any(one.checkpoint for one in wanted):
            images = evaluation.find(name.removeprefix(evaluation.PREFIX))
    except DataError as error:
        return _Data(sizes=sizes), [f"--accuracy {name}: {error}"]
    return _Data(sizes=sizes, images=images), []


def _answer(question: Path, say: Callable[[Event], None]) -> None:
    asked = structured(json.loads(question.read_text()), PreflightQuestion)
    say({"event": "devices", "devices": devices.present(), "mistakes": _missing(asked.runtimes)})
    data, mistakes = _look_at_data(asked.dataset, asked.sizes, asked.wanted)
    say({"event": "data", "mistakes": mistakes})
    house: Surroundings | None = None
    for wanted in asked.wanted[asked.known :]:
        if house is None and _is_strange(wanted):
            house = _surroundings()
        try:
            finding = _examine(wanted, data)
        except AttnbenchError as error:
            finding = Finding(wanted=wanted, mistakes=(str(error),))
        if house:
            house.settle()  # what one has changed as it was loaded is nothing to the next
        say({"event": "finding", "finding": asdict(finding)})


def _surroundings() -> Surroundings:
    from attnbench.worker.surroundings import Surroundings  # noqa: PLC0415 - loads dynamo, a second, for plugins only

    return Surroundings()


def _missing(names: Sequence[str]) -> list[str]:
    """Return which runtimes cannot be used here, and what installs them."""
    found = []
    for name in names:
        try:
            reason = runtimes.why_missing(name)
        except PluginError as error:
            reason = str(error)
        except UsageError:  # said where it is read
            continue
        found += [f"--runtime {name}: {reason}"] if reason else []
    return found


def _is_strange(wanted: Wanted) -> bool:
    """Return whether looking at it runs code of somebody who may do anything to the process."""
    name, _ = option_syntax.split(wanted.spec)
    ours = discover().plugins.get(name)
    return not wanted.network and not (ours and ours.distribution.startswith("attnbench "))


if __name__ == "__main__":
    _answer(Path(sys.argv[1]), voice.opened(int(sys.argv[2])))
