"""From options or a TOML file to the cells of a sweep. Every mistake is found before anything runs, and all at once."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from attnbench.errors import UsageError, did_you_mean
from attnbench.pyramid import SWIN_T_SIZED
from attnbench.record import Cell, Mode, Options, Scope, Task
from attnbench.survey import Finding, Survey, Wanted

DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
    "half": "float16",
}
BUILT_IN_DATASETS = ("digits",)
T = TypeVar("T")

_EVALUATED_ON = "folder:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The axes of a sweep as written: each a tuple of what stood between the commas.

    Mechanisms are measured in the layer and backbone scopes, networks in the network scope.
    """

    mechanisms: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    res: tuple[str, ...] = ("224",)
    batch: tuple[str, ...] = ("1",)
    dtype: tuple[str, ...] = ("float32",)
    device: tuple[str, ...] = ("auto",)
    mode: tuple[str, ...] = ("infer",)
    compile: tuple[str, ...] = ("off",)
    scope: tuple[str, ...] = ("backbone",)
    backend: tuple[str, ...] = ()
    stage: tuple[str, ...] = ("3",)
    dim: int | None = None
    heads: int | None = None
    depth: int = 4
    threads: int = 1
    baseline: str = "mhsa"
    accuracy: str = ""
    seeds: int = 3
    epochs: int = 0
    checkpoint: tuple[str, ...] = ()
    """``NETWORK=FILE`` each: the weights that a network is evaluated with, whichever options it has."""

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """The mechanisms to look at, the baseline first if it was not asked for."""
        backends = self.backend or ("",)
        asked = [Wanted(spec=spec, backend=backend) for spec in self.mechanisms for backend in backends]
        asked += [
            Wanted(spec=spec, backend=each, network=True, checkpoint=self.checkpoints.get(spec.partition(":")[0], ""))
            for spec in self.networks
            for each in backends
        ]
        extra = [Wanted(spec=self.baseline)] if self._baseline_is_extra else []
        return tuple(dict.fromkeys([*extra, *asked]))

    @property
    def checkpoints(self) -> dict[str, str]:
        """The files of weights by the network's name."""
        return {name: file for name, _, file in (entry.partition("=") for entry in self.checkpoint)}

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the images, those left out that are none."""
        found = []
        for text in self.res:
            with suppress(ValueError):
                found.append(parse_resolution(text))
        return tuple(found)

    @property
    def _baseline_is_extra(self) -> bool:
        return bool(self.mechanisms) and self.baseline not in ("none", *self.mechanisms, *self.networks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Cells in the order they are run, and for each group the key of the cell that its ratios refer to."""

    cells: tuple[Cell, ...]
    baselines: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axes:
    res: list[tuple[int, int]]
    batch: list[int]
    dtype: list[str]
    device: list[str]
    mode: list[Mode]
    compiled: list[bool]
    scope: list[Scope]
    stage: list[int]


def plan(request: Request, survey: Survey) -> Sweep:
    """Return every combination of the request's axes as cells.

    Raises:
        UsageError: anything asked for cannot be used; its mistakes name all of it.
    """
    mistakes = [mistake for finding in survey.findings for mistake in finding.mistakes] + list(survey.mistakes)
    mistakes += _unknown_backends(request, survey.findings)
    axes = _read_axes(request, survey.devices, mistakes)
    mistakes += _missing(request, axes) + _wrong_checkpoints(request)
    findings = _without_repeated_baseline(request, survey.findings)
    mistakes += _duplicates("mechanisms", [written(f.name, f.options) for f in findings if f.name])
    if mistakes:
        raise UsageError(*dict.fromkeys(mistakes))
    cells = tuple(_cells(request, axes, findings))
    accuracy_cells = tuple(_accuracy_cells(request, axes, findings))
    return Sweep(cells=cells + accuracy_cells, baselines=_baselines(cells, request, findings))


def written(mechanism: str, options: Options) -> str:
    """Return a mechanism with its options as they are written on the command line."""
    return ":".join([mechanism, *(f"{name}={value}" for name, value in options.items())])


def parse_resolution(text: str) -> tuple[int, int]:
    """Read ``224`` or ``224x448`` (height x width, pixels).

    Raises:
        ValueError: it is neither, or a side is 0.
    """
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match or int(match[1]) == 0 or (match[2] is not None and int(match[2]) == 0):
        raise ValueError("expected pixels as 224, or height x width as 224x448, each at least 1")
    return int(match[1]), int(match[2] or match[1])


def _read_axes(request: Request, devices: Sequence[str], mistakes: list[str]) -> _Axes:
    def read(name: str, values: Sequence[str], parse: Callable[[str], T]) -> list[T]:
        parsed: list[T] = []
        if not values:
            mistakes.append(f"--{name} is empty")
        for value in values:
            try:
                parsed.append(parse(value))
            except ValueError as error:
                mistakes.append(f"--{name} {value!r}: {error}")
        mistakes.extend(_duplicates(name, map(_written_value, parsed)))
        return parsed

    for name in ("depth", "threads", "seeds", "dim", "heads"):
        value = getattr(request, name)
        if value is not None and value < 1:
            mistakes.append(f"--{name} {value}: expected a whole number from 1")
    return _Axes(
        res=read("res", request.res, parse_resolution),
        batch=read("batch", request.batch, _parse_count),
        dtype=read("dtype", request.dtype, _one_of(DTYPES)),
        device=read("device", request.device, lambda text: _parse_device(text, devices)),
        mode=read("mode", request.mode, _one_of({mode.value: mode for mode in Mode})),
        compiled=read("compile", request.compile, _one_of({"off": False, "on": True})),
        scope=read("scope", request.scope, _one_of({scope.value: scope for scope in Scope})),
        stage=read(
            "stage", request.stage, _one_of({str(stage + 1): stage + 1 for stage in range(len(SWIN_T_SIZED.dims))})
        ),
    )


def _cells(request: Request, axes: _Axes, findings: Sequence[Finding]) -> Iterator[Cell]:
    for scope, device, mode, dtype, batch, (height, width) in itertools.product(
        axes.scope, axes.device, axes.mode, axes.dtype, axes.batch, axes.res
    ):
        common = Cell(
            mechanism="",
            scope=scope,
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


def _accuracy_cells(request: Request, axes: _Axes, findings: Sequence[Finding]) -> Iterator[Cell]:
    if not request.accuracy:
        return
    for finding in findings:
        if finding.wanted.network:
            yield from _evaluations(request, axes, finding)
        else:
            yield _training(request, axes, finding)


def _training(request: Request, axes: _Axes, finding: Finding) -> Cell:
    """Return the cell that trains a mechanism's backbone at the first image size."""
    height, width = (8, 8) if request.accuracy == "digits" else axes.res[0]
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


def _evaluations(request: Request, axes: _Axes, finding: Finding) -> Iterator[Cell]:
    """Yield the cells that evaluate a network's checkpoint, one for each image size."""
    for height, width in axes.res:
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


def _missing(request: Request, axes: _Axes) -> list[str]:
    """Say which scope has nothing to measure."""
    found = []
    if Scope.NETWORK in axes.scope and not request.networks:
        found.append("--scope network: name them with --networks, such as hat_net_small,swin_tiny_patch4_window7_224")
    if set(axes.scope) - {Scope.NETWORK} and not request.mechanisms:
        found.append("--scope backbone or layer: name mechanisms with --mechanisms")
    if request.networks and Scope.NETWORK not in axes.scope:
        found.append("--networks: add network to --scope")
    return found


def _wrong_checkpoints(request: Request) -> list[str]:
    """Say which checkpoints belong to no network, and what networks lack to be evaluated."""
    names = dict.fromkeys(spec.partition(":")[0] for spec in request.networks)
    unreadable = [entry for entry in request.checkpoint if not all(entry.partition("="))]
    found = [f"--checkpoint {entry!r}: write NETWORK=FILE" for entry in unreadable]
    given = [entry.partition("=")[0] for entry in request.checkpoint if entry not in unreadable]
    found += [
        f"--checkpoint {name}: no network of this sweep has that name; {did_you_mean(name, names)}"
        for name in given
        if name not in names
    ]
    found += _duplicates("checkpoint", given)
    if not (request.accuracy and names):
        return found
    if not request.accuracy.startswith(_EVALUATED_ON):
        found.append(
            f"--accuracy {request.accuracy}: networks are evaluated on folder:PATH; leave --networks out to train"
        )
    return found + [
        f"--accuracy: {name} would be evaluated with random weights; give --checkpoint {name}=FILE"
        for name in names
        if name not in given
    ]


def _unknown_backends(request: Request, findings: Sequence[Finding]) -> list[str]:
    known = {backend for finding in findings for backend in finding.backends}
    return [
        f"--backend {backend!r}: no mechanism of this sweep has it; {did_you_mean(backend, known)}"
        for backend in request.backend
        if backend not in known
    ]


def _duplicates(name: str, values: Iterable[object]) -> list[str]:
    return [
        f"--{name}: {value} is given {times} times; give it once"
        for value, times in Counter(values).items()
        if times > 1
    ]


def _written_value(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _one_of(choices: Mapping[str, T]) -> Callable[[str], T]:
    def parse(text: str) -> T:
        if text not in choices:
            raise ValueError(did_you_mean(text, choices))
        return choices[text]

    return parse


def _parse_count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ValueError("expected a whole number from 1")
    return int(text)


def _parse_device(text: str, devices: Sequence[str]) -> str:
    if text == "auto":
        return "cuda:0" if "cuda:0" in devices else "cpu"
    device = "cuda:0" if text == "cuda" else text
    if device not in devices:
        raise ValueError(f"torch sees {', '.join(devices)} on this machine")
    return device
