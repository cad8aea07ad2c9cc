"""From a request to the cells of a sweep. Every mistake is found before anything runs, and all at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from attnbench.errors import UsageError
from attnbench.models.dense import DEFAULT_SIZE
from attnbench.models.dense import DenseTask as Head
from attnbench.models.pyramid import SWIN_T_SIZED
from attnbench.plan import reading as axes_of
from attnbench.plan.preflight import Finding, Survey
from attnbench.plan.reading import Axes
from attnbench.plan.request import USUAL, Request, parse_resolution
from attnbench.record import Cell, Mode, Options, Scope, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Cells in the order they are run, and for each group the key of the cell that its ratios refer to."""

    cells: tuple[Cell, ...]
    baselines: Mapping[str, str]


def plan(request: Request, survey: Survey) -> Sweep:
    """Return every combination of the request's axes as cells.

    Raises:
        UsageError: anything asked for cannot be used; its mistakes name all of it.
    """
    mistakes = [mistake for finding in survey.findings for mistake in finding.mistakes] + list(survey.mistakes)
    mistakes += axes_of.unknown_backends(request, survey.findings)
    axes = axes_of.read(request, survey.devices, mistakes)
    mistakes += axes_of.missing(request, axes) + axes_of.wrong_checkpoints(request)
    findings = _without_repeated_baseline(request, survey.findings)
    mistakes += axes_of.duplicates("mechanisms", [written(f.name, f.options) for f in findings if f.name])
    if mistakes:
        raise UsageError(*dict.fromkeys(mistakes))
    cells = tuple(_cells(request, axes, findings))
    accuracy_cells = tuple(_accuracy_cells(request, axes, findings))
    return Sweep(cells=cells + accuracy_cells, baselines=_baselines(cells, request, findings))


def written(mechanism: str, options: Options) -> str:
    """Return a mechanism with its options as they are written on the command line."""
    return ":".join([mechanism, *(f"{name}={value}" for name, value in options.items())])


def _cells(request: Request, axes: Axes, findings: Sequence[Finding]) -> Iterator[Cell]:
    for (scope, head, (height, width)), device, mode, dtype, batch in itertools.product(
        _scenes(axes), axes.device, axes.mode, axes.dtype, axes.batch
    ):
        common = Cell(
            task=axes.task,
            mechanism="",
            scope=scope,
            head=head,
            height=height,
            width=width,
            batch=batch,
            mode=mode,
            dtype=dtype,
            device=device,
            threads=request.threads,
        )
        for placed in _place(common, request, axes.stage):
            here = [finding for finding in findings if finding.wanted.network == (scope is Scope.NETWORK)]
            for finding, compiled in itertools.product(here, axes.compiled):
                yield replace(_named(placed, finding), compiled=compiled)


def _scenes(axes: Axes) -> Iterator[tuple[Scope, str, tuple[int, int]]]:
    """Yield scopes, heads and image sizes that go together."""
    for scope in axes.scope:
        for head in axes.head if scope is Scope.NETWORK else [""]:
            usual = DEFAULT_SIZE[Head(head)] if head else parse_resolution(USUAL)
            for size in axes.res or [usual]:
                yield scope, head, size


def _place(cell: Cell, request: Request, stages: Iterable[int]) -> Iterator[Cell]:
    if cell.scope is not Scope.LAYER:
        yield cell
        return
    for stage in stages:
        yield replace(
            cell,
            stage=stage,
            dim=request.dim or SWIN_T_SIZED.dims[stage - 1],
            heads=request.heads or SWIN_T_SIZED.heads[stage - 1],
            depth=request.depth,
        )


def _accuracy_cells(request: Request, axes: Axes, findings: Sequence[Finding]) -> Iterator[Cell]:
    if not request.accuracy:
        return
    for finding in findings:
        if finding.wanted.network:
            yield from _evaluations(request, axes, finding)
        else:
            yield _training(request, axes, finding)


def _training(request: Request, axes: Axes, finding: Finding) -> Cell:
    """Return the cell that trains a mechanism's backbone at the first image size."""
    height, width = (8, 8) if request.accuracy == "digits" else request.sizes[0]
    common = Cell(
        task=Task.ACCURACY,
        mechanism="",
        height=height,
        width=width,
        device=axes.device[0],
        mode=Mode.TRAIN,
        threads=request.threads,
        dataset=request.accuracy,
        seeds=request.seeds,
        epochs=request.epochs,
    )
    return _named(common, finding)


def _evaluations(request: Request, axes: Axes, finding: Finding) -> Iterator[Cell]:
    """Yield the cells that evaluate a network's checkpoint, one for each image size."""
    for height, width in request.sizes:
        common = Cell(
            task=Task.ACCURACY,
            scope=Scope.NETWORK,
            mechanism="",
            height=height,
            width=width,
            device=axes.device[0],
            threads=request.threads,
            dataset=request.accuracy,
            checkpoint=finding.wanted.checkpoint,
            checkpoint_sha256=finding.checkpoint_sha256,
        )
        yield _named(common, finding)


def _named(cell: Cell, finding: Finding) -> Cell:
    cell = replace(cell, options=finding.options, distribution=finding.distribution)
    return replace(cell, network=finding.name) if finding.wanted.network else replace(cell, mechanism=finding.name)


def _without_repeated_baseline(request: Request, findings: Sequence[Finding]) -> list[Finding]:
    """Drop the baseline that was added where the same mechanism was asked for in other words."""
    asked = [finding for finding in findings if finding.wanted.spec in request.mechanisms]
    same = {(finding.name, tuple(finding.options.items())) for finding in asked}
    added = [f for f in findings if f not in asked and (f.name, tuple(f.options.items())) not in same]
    return added + asked


def _baselines(cells: Iterable[Cell], request: Request, findings: Sequence[Finding]) -> dict[str, str]:
    """Return each group's baseline: the first cell of it, eager where there is a choice.

    A group of networks without the baseline that was asked for refers to its first network.
    """
    baseline = next((f for f in findings if f.wanted.spec == request.baseline), None)
    baseline = baseline or next((f for f in findings if f.name == request.baseline), None)
    chosen: dict[str, Cell] = {}
    for cell in cells:
        if baseline and cell.name == baseline.name and cell.options == baseline.options:
            best = chosen.get(cell.group)
            if best is None or (best.compiled and not cell.compiled):
                chosen[cell.group] = cell
    for cell in cells:
        if cell.network and request.baseline != "none":
            chosen.setdefault(cell.group, cell)
    return {group: cell.key for group, cell in chosen.items()}
