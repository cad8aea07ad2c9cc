"""From a request to the cells of a sweep. Every mistake is found before anything runs, and all at once."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from attnbench.accuracy.composites import table as composites
from attnbench.accuracy.dense import table as annotated
from attnbench.accuracy.tasks import table as tasks
from attnbench.axes import AXES, DEFAULTS, INT8, Axis, texts, variant
from attnbench.errors import UsageError
from attnbench.models.pyramid import SWIN_T_SIZED
from attnbench.plan import on_annotated, on_composites, preflight
from attnbench.plan import reading as axes_of
from attnbench.plan.preflight import Finding, Preflight
from attnbench.plan.reading import Values
from attnbench.plan.request import Request
from attnbench.plugins.options import aliased, split
from attnbench.record import Cell, Mode, Options, Scope, Status, Task
from attnbench.runs.job import Settings

_OWN_SIZES = {"digits": (8, 8), "fashion-mnist": (28, 28)}
"""Height and width in pixels of the data sets that come in one size."""
_OF_A_SCENE = ("scope", "task", "res")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Cells in the order they are run, and for each group the key of the cell that its ratios refer to."""

    cells: tuple[Cell, ...]
    baselines: Mapping[str, str]
    endings: Mapping[str, tuple[Status, str]] = field(default_factory=dict)
    """Status and reason of cells that are not run, by key: looking at the mechanism has killed or hung a process."""


def look(request: Request, settings: Settings, *, watcher: Callable[[str], None] = lambda _: None) -> Preflight:
    """Look at all that a request names, in a child process.

    Args:
        request: what is asked for.
        settings: how long looking at one thing may take, and how the child starts.
        watcher: told what is looked at next.

    Raises:
        PluginError: the child ended before it looked at anything.
        UsageError: the data set killed or hung it.
    """
    return preflight.take(
        request.wanted,
        dataset=request.accuracy,
        sizes=on_annotated.sizes(request),
        runtimes=request.written("runtime"),
        timeout_s=settings.timeout_s,
        isolation=settings.isolation,
        watcher=watcher,
    )


def plan(request: Request, looked_at: Preflight) -> Sweep:
    """Return every combination of the request's axes as cells.

    Raises:
        UsageError: anything asked for cannot be used; its mistakes name all of it.
    """
    mistakes = [mistake for finding in looked_at.findings for mistake in finding.mistakes] + list(looked_at.mistakes)
    mistakes += axes_of.unknown_backends(request, looked_at.findings)
    mistakes += axes_of.repeated(request)
    values = axes_of.read(request, looked_at.devices, mistakes)
    task = axes_of.depth(request, mistakes)
    mistakes += axes_of.missing(request, values) + axes_of.wrong_checkpoints(request) + axes_of.wrong_recipe(request)
    mistakes += on_composites.mistakes(request, values) + on_annotated.mistakes(request, values)
    findings = _without_repeated_baseline(request, looked_at.findings)
    mistakes += axes_of.duplicates("mechanisms", [written(f.name, f.options) for f in findings if f.name])
    mistakes += axes_of.ambiguous(findings)
    if mistakes:
        raise UsageError(*dict.fromkeys(mistakes))
    timed = tuple(_cells(values, findings, task))
    cells = timed + tuple(_accuracy_cells(request, values, findings))
    return Sweep(cells=cells, baselines=_baselines(timed, request, findings), endings=endings(cells, findings))


def written(mechanism: str, options: Options) -> str:
    """Return a mechanism with its options as they are written on the command line."""
    return ":".join([mechanism, *(f"{name}={value}" for name, value in options.items())])


_OF_THE_MACHINE = {"device", "threads"}
"""Axes whose usual value another machine has otherwise: a command names them, or it measures something else there."""


def again(cell: Cell) -> str:
    """Return a command that measures a cell again; options that are known to have their default are left out."""
    kind = "--networks" if cell.network else "--mechanisms"
    told = {name: value for name, value in cell.options.items() if name not in cell.at_default}
    words = ["attnbench", "run", kind, written(cell.name, told)]
    for option, axis in AXES.items():
        value = getattr(cell, axis.fields[0])
        usual = value == DEFAULTS[axis.fields[0]] or texts(value) == (axis.usual,)
        if axis.scope in {None, cell.scope} and (option in _OF_THE_MACHINE or not usual):
            several = len(axis.fields) > 1
            words += [f"--{option}", f"{cell.height}x{cell.width}" if several else ",".join(texts(value))]
    return shlex.join(words)


def _cells(values: Values, findings: Sequence[Finding], task: Task) -> Iterator[Cell]:
    together = [axis for axis in AXES.values() if axis.together and (task is Task.COST or not axis.timed)]
    for scene in _scenes(values):
        here = [finding for finding in findings if finding.wanted.network == (scene["scope"] is Scope.NETWORK)]
        for place in _points(values, _apart(scene["scope"])):
            common = _sited(Cell(task=task, mechanism="", **scene | place))
            for finding, point in itertools.product(here, list(_points(values, together))):
                yield replace(_named(common, finding), **point)


def _scenes(values: Values) -> Iterator[dict[str, Any]]:
    """Yield scopes, heads and image sizes that go together."""
    for scope in values["scope"]:
        for head in values["task"] if scope is Scope.NETWORK else [""]:
            for height, width in axes_of.sizes_under(head, values):
                yield {"scope": scope, "head": head, "height": height, "width": width}


def _apart(scope: Scope) -> list[Axis]:
    """Return the axes whose values are not timed in turn, besides those of a scene, that mean something in a scope."""
    rest = [axis for name, axis in AXES.items() if name not in _OF_A_SCENE and not axis.together]
    return [axis for axis in rest if axis.scope in {None, scope}]


def _points(values: Values, axes: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    """Yield every combination on some axes, by the fields of a cell; an axis without values is left out."""
    asked = [axis for axis in axes if values[axis.option]]
    for point in itertools.product(*(values[axis.option] for axis in asked)):
        yield {axis.fields[0]: value for axis, value in zip(asked, point, strict=True)}


def _sited(cell: Cell) -> Cell:
    """Return a cell of the layer scope with its stage's channels and heads where none were asked for."""
    if cell.scope is not Scope.LAYER:
        return cell
    stage = cell.stage - 1
    return replace(cell, dim=cell.dim or SWIN_T_SIZED.dims[stage], heads=cell.heads or SWIN_T_SIZED.heads[stage])


def _accuracy_cells(request: Request, values: Values, findings: Sequence[Finding]) -> Iterator[Cell]:
    if not request.accuracy:
        return
    for finding in findings:
        if composites.is_composite(request.accuracy):
            yield from (_named(cell, finding) for cell in on_composites.cells(request, values, finding.wanted.network))
        elif annotated.is_annotated(request.accuracy):
            own = on_annotated.cells(request, values, finding) if finding.wanted.network else ()
            yield from (_named(cell, finding) for cell in own)
        elif request.recipe:
            yield from _by_recipe(request, values, finding)
        elif finding.wanted.network:
            yield from _evaluations(request, values, finding)
        else:
            yield _training(request, values, finding)


def _training(request: Request, values: Values, finding: Finding) -> Cell:
    """Return the cell that trains a mechanism: at its data's own size, at the first image size where it has none."""
    own = _OWN_SIZES.get(request.accuracy.partition(":")[0])
    composed = composites.dressed_size(request.accuracy, values["res"])
    height, width = tasks.size(request.accuracy) or composed or own or request.sizes[0]
    common = Cell(
        task=Task.ACCURACY,
        mechanism="",
        height=height,
        width=width,
        device=values["device"][0],
        mode=Mode.TRAIN,
        threads=values["threads"][0],
        dataset=request.accuracy,
        seeds=request.seeds,
        epochs=request.epochs,
    )
    return _named(common, finding)


def _by_recipe(request: Request, values: Values, finding: Finding) -> Iterator[Cell]:
    """Yield the cells that train by a recipe: a network at each image size, a mechanism's backbone at the first."""
    common = replace(_training(request, values, finding), recipe=request.recipe)
    if not finding.wanted.network:
        yield common
        return
    for height, width in request.sizes:
        yield replace(common, scope=Scope.NETWORK, height=height, width=width)


def _evaluations(request: Request, values: Values, finding: Finding) -> Iterator[Cell]:
    """Yield the cells that evaluate a network's checkpoint, for each image size in float32 and as it is quantised."""
    for height, width in request.sizes:
        common = Cell(
            task=Task.ACCURACY,
            scope=Scope.NETWORK,
            mechanism="",
            height=height,
            width=width,
            device=values["device"][0],
            threads=values["threads"][0],
            dataset=request.accuracy,
            checkpoint=finding.wanted.checkpoint,
            checkpoint_sha256=finding.checkpoint_sha256,
            class_order=request.class_order,
            class_order_sha256=finding.class_order_sha256,
        )
        yield _named(common, finding)
        if INT8 in values["dtype"]:
            yield from (_named(replace(common, dtype=INT8, runtime=each), finding) for each in values["runtime"])


def _named(cell: Cell, finding: Finding) -> Cell:
    wanted = finding.wanted
    given = tuple(name for name in split(wanted.spec)[1] if name in finding.options)
    cell = replace(cell, alias=wanted.alias, given=given, at_default=finding.at_default)
    cell = replace(cell, options=finding.options, distribution=finding.distribution)
    return replace(cell, network=finding.name) if wanted.network else replace(cell, mechanism=finding.name)


def endings(cells: Sequence[Cell], findings: Sequence[Finding]) -> dict[str, tuple[Status, str]]:
    """Return how cells end, by key, whose mechanism or network killed or hung the process that looked at it."""
    return {
        cell.key: (finding.status, finding.reason)
        for finding in findings
        if finding.status is not Status.OK
        for cell in cells
        if (cell.name, cell.options, bool(cell.network)) == (finding.name, finding.options, finding.wanted.network)
    }


def _without_repeated_baseline(request: Request, findings: Sequence[Finding]) -> list[Finding]:
    """Drop the baseline that was added where the same mechanism was asked for in other words."""
    specs = {spec for _, spec in map(aliased, request.mechanisms)}
    asked = [finding for finding in findings if finding.wanted.spec in specs]
    same = {(finding.name, tuple(finding.options.items())) for finding in asked}
    added = [f for f in findings if f not in asked and (f.name, tuple(f.options.items())) not in same]
    return added + asked


def _baselines(cells: Iterable[Cell], request: Request, findings: Sequence[Finding]) -> dict[str, str]:
    """Return each group's baseline: the first cell of it, the usual one where cells are timed in turn.

    A group of networks without the baseline that was asked for refers to its first network.
    """
    baseline = next((f for f in findings if request.baseline in (f.wanted.alias, f.wanted.spec)), None)
    baseline = baseline or next((f for f in findings if f.name == request.baseline), None)
    chosen: dict[str, Cell] = {}
    for cell in cells:
        if baseline and cell.name == baseline.name and cell.options == baseline.options:
            best = chosen.get(cell.group)
            if best is None or len(variant(cell)) < len(variant(best)):
                chosen[cell.group] = cell
    for cell in cells:
        if cell.network and request.baseline != "none":
            chosen.setdefault(cell.group, cell)
    return {group: cell.key for group, cell in chosen.items()}
