"""From checks to the cells of one sweep, all checked before anything runs, and to commands that measure the same."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from attnbench.axes import AXES, CLASSIFICATION, DEFAULTS
from attnbench.claims.claim import AXES_OF_A_CHECK, Check, Claim
from attnbench.errors import UsageError
from attnbench.metrics import METRICS, Needs
from attnbench.models.pyramid import SWIN_T_SIZED
from attnbench.plan import preflight, sweep
from attnbench.plan.preflight import Finding, Preflight, Size, Wanted
from attnbench.plan.reading import UNTIL
from attnbench.plan.request import Request
from attnbench.record import Cell, Scope, Task

_Looked: TypeAlias = tuple[str, tuple[Size, ...]]
"""Images that networks are evaluated on, and the sizes they must take them at; both empty if nothing is evaluated."""
_SAID_FIRST = ("stage", "depth", "dim", "heads", "task", "res")
_SAID_ALWAYS = ("stage", "depth", "dim", "heads", "res")
"""Axes that a command names whatever their value; what a sweep has elsewhere is not what a claim is about."""
_DEPTHS = (Task.COUNTS, Task.MEMORY, Task.COST)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPoint:
    """One figure of a check: the cell that gives it, and for a ratio the cell it is taken over."""

    of: Cell
    over: Cell | None = None
    at: str = ""
    """Value of the option that the check goes along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What whoever asks can bring to claims."""

    threads: int = 1
    device: str = "auto"
    dataset: str = ""
    """Images to evaluate networks on, ``folder:PATH``; empty for none."""
    checkpoint: tuple[str, ...] = ()
    """``NETWORK=FILE`` each."""
    until: str = "latency"
    """The last thing that is found out: counts, memory or latency."""
    timeout_s: float = preflight.TIMEOUT_S
    """How long loading a mechanism or network may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsPlan:
    """Which points every check needs, and the sweep that measures them all."""

    points: Mapping[Check, tuple[ClaimPoint, ...]]
    sweep: sweep.Sweep
    unplanned: Mapping[Check, str]
    """Checks that name what cannot be used, with why."""


def checks_of(claims: Sequence[Claim], hardware: str, means: Means) -> list[Check]:
    """Return the checks that can be made here, those behind reasons included, each once."""
    found: dict[Check, None] = {}
    for claim in claims:
        if claim.check is None or not _measurable(claim, claim.check, hardware, means):
            continue
        found |= dict.fromkeys([claim.check, *(reason.check for reason in claim.reasons)])
    return list(found)


def plan(checks: Sequence[Check], means: Means) -> ClaimsPlan:
    """Return the points of every check and one sweep over all of their cells.

    Raises:
        UsageError: no check at all can be made, which then is not the ledgers' fault.
    """
    requests = {check: list(_requests(check, means)) for check in checks}
    asked = itertools.chain.from_iterable(pair for sides in requests.values() for _, pair in sides)
    preflights = _preflights(asked, means)
    points: dict[Check, tuple[ClaimPoint, ...]] = {}
    unplanned: dict[Check, str] = {}
    for check, sides in requests.items():
        try:
            points[check] = tuple(itertools.chain.from_iterable(_points(at, pair, preflights) for at, pair in sides))
        except UsageError as error:
            unplanned[check] = "; ".join(error.mistakes)
    if unplanned and not points:
        raise UsageError(*dict.fromkeys(unplanned.values()))
    points = _shared(points)
    findings = [finding for looked in preflights.values() for finding in looked.findings]
    return ClaimsPlan(points=points, sweep=_sweep(points.values(), findings), unplanned=unplanned)


def command(check: Check, *, device: str = "") -> str:
    """Return what to type to measure the same, beside its own report."""
    request = next(_requests(check, Means()))[1][0]
    sides = tuple(_with_option(side, check, check.values[0] if check.values else "") for side in check.wanted)
    words = ["--networks" if check.network else "--mechanisms", ",".join(sides)]
    if not check.network:
        words += ["--scope", check.scope]
    if learned(check):
        name = check.network.partition(":")[0]
        words += ["--checkpoint", f"{name}=FILE", "--accuracy", "folder:PATH"]
        return shlex.join(["attnbench", "run", *words])
    said = {name: check.written(name) if name in AXES_OF_A_CHECK else request.axes[name] for name in request.axes}
    for option in [name for name in dict.fromkeys([*_SAID_FIRST, *AXES]) if name in said and name != "scope"]:
        if option in _SAID_ALWAYS or said[option] != (AXES[option].usual,):
            words += [f"--{option}", ",".join(said[option])]
    words += ["--baseline", "none"] if not (check.over or check.network) else []
    words += ["--until", request.until] if request.until != "latency" else []
    words += ["--energy"] if Needs.ENERGY in needs(check) else []
    words += ["--device", device] if device else []
    return shlex.join(["attnbench", "run", *words])


def _measurable(claim: Claim, check: Check, hardware: str, means: Means) -> bool:
    """Say whether a check tells something here: a ratio does on any machine, a time only on the claim's."""
    if learned(check):
        return bool(means.dataset and _weights(check, means))
    if _DEPTHS.index(UNTIL[until(check)]) > _DEPTHS.index(UNTIL[means.until]):
        return False
    return not claim.hardware or claim.hardware in hardware or bool(check.over)


def _weights(check: Check, means: Means) -> tuple[str, ...]:
    """Return the checkpoints that were brought for a check's network."""
    name = check.network.partition(":")[0]
    return tuple(entry for entry in means.checkpoint if entry.partition("=")[0] == name)


def needs(check: Check) -> set[Needs]:
    """Return how far a cell must be run for the metrics of a check."""
    return {METRICS[metric].needs for metric in (check.metric, check.less, check.plus) if metric}


def until(check: Check) -> str:
    """Return the last thing that a check needs of a cell: counts, memory or latency."""
    furthest = max(needs(check), key=list(Needs).index)
    return furthest.value if furthest.value in UNTIL else "latency"


def learned(check: Check) -> bool:
    """Return whether a check asks for an accuracy, and so for a cell of its own."""
    return METRICS[check.metric].needs is Needs.ACCURACY


def _requests(check: Check, means: Means) -> Iterator[tuple[str, tuple[Request, Request | None]]]:
    """Yield the requests of both sides, which give as many cells each in the same order, and where along they are."""
    stages = check.written("stage") if check.scope == Scope.LAYER else ("",)
    for (stage, dim), at in itertools.product(itertools.product(stages, check.dim or (0,)), check.values or ("",)):
        common = Request(axes=_axes(check, means, stage, dim), baseline="none", until=until(check))
        if learned(check):
            common = replace(common, accuracy=means.dataset, checkpoint=_weights(check, means))
        sides = [_with_option(side, check, at) for side in check.wanted]
        kind = "networks" if check.network else "mechanisms"
        first, *others = [replace(common, **{kind: (side,)}) for side in sides]  # type: ignore[arg-type]
        yield at, (first, others[0] if others else None)


def _axes(check: Check, means: Means, stage: str, dim: int) -> dict[str, tuple[str, ...]]:
    """Return what one request of a check asks of the axes, those left out that mean nothing in its scope."""
    here = [name for name in AXES_OF_A_CHECK if AXES[name].scope in {None, check.scope}]
    asked = {name: values for name in here if (values := check.written(name))}
    if check.written("task") != (CLASSIFICATION,):
        del asked["res"]
    if check.scope == Scope.LAYER:
        asked["stage"] = (stage,)
        width = dim or SWIN_T_SIZED.dims[int(stage) - 1]
        asked |= {"dim": (str(width),)} if dim or check.head_dim else {}
        asked |= {"heads": (str(width // check.head_dim),)} if check.head_dim else {}
    return asked | {"scope": (check.scope,), "device": (means.device,), "threads": (str(means.threads),)}


def _with_option(side: str, check: Check, at: str) -> str:
    """Return a side with the option that the check goes along, unless it has a value of its own."""
    return f"{side}:{check.along}={at}" if check.along and f":{check.along}=" not in side else side


def _preflights(requests: Iterable[Request | None], means: Means) -> dict[_Looked, Preflight]:
    """Look at what is asked for, apart by what it must suit, so that one's images and sizes are no other's mistake."""
    wanted: dict[_Looked, dict[Wanted, None]] = {}
    for request in filter(None, requests):
        wanted.setdefault(_looked(request), {}).update(dict.fromkeys(request.wanted))
    return {
        (dataset, sizes): preflight.take(tuple(one), dataset=dataset, sizes=sizes, timeout_s=means.timeout_s)
        for (dataset, sizes), one in wanted.items()
    }


def _looked(request: Request) -> _Looked:
    return request.accuracy, tuple(request.sizes) if request.accuracy else ()


def _points(
    at: str, pair: tuple[Request, Request | None], preflights: Mapping[_Looked, Preflight]
) -> Iterator[ClaimPoint]:
    first, second = pair
    of = _cells(first, preflights[_looked(first)])
    over: Sequence[Cell | None] = _cells(second, preflights[_looked(second)]) if second else [None] * len(of)
    for one, other in zip(of, over, strict=True):
        yield ClaimPoint(of=one, over=other, at=at)


def _cells(request: Request, looked: Preflight) -> list[Cell]:
    findings = tuple(looked.of(wanted) for wanted in request.wanted)
    planned = sweep.plan(request, replace(looked, findings=findings)).cells
    return [cell for cell in planned if (cell.task is Task.ACCURACY) == bool(request.accuracy)]


def _untimed(cell: Cell) -> Cell:
    """Return a cell without what only the timing depends on, as it is where nothing is timed."""
    timed = {axis.fields[0]: DEFAULTS[axis.fields[0]] for axis in AXES.values() if axis.timed}
    return replace(cell, task=Task.COUNTS, **timed)


def _shared(points: Mapping[Check, tuple[ClaimPoint, ...]]) -> dict[Check, tuple[ClaimPoint, ...]]:
    """Let checks that ask less of a cell read it from the one that is asked more."""
    sides = itertools.chain.from_iterable((point.of, point.over) for each in points.values() for point in each)
    asked: dict[tuple[str, Task], Cell] = {}
    for cell in filter(None, sides):
        asked.setdefault((_untimed(cell).key, cell.task), cell)

    def deepest(cell: Cell) -> Cell:
        further = _DEPTHS[_DEPTHS.index(cell.task) + 1 :] if cell.task in _DEPTHS else ()
        found = (asked.get((_untimed(cell).key, task)) for task in reversed(further))
        return next(filter(None, found), cell)

    return {
        check: tuple(replace(p, of=deepest(p.of), over=p.over and deepest(p.over)) for p in each)
        for check, each in points.items()
    }


def _sweep(points: Iterable[Sequence[ClaimPoint]], findings: Sequence[Finding]) -> sweep.Sweep:
    """Return every cell once; ratios within a group refer to the first cell that something is taken over."""
    cells: dict[str, Cell] = {}
    baselines: dict[str, str] = {}
    for point in itertools.chain.from_iterable(points):
        for cell in filter(None, (point.of, point.over)):
            cells.setdefault(cell.key, cell)
        if point.over is not None:
            baselines.setdefault(point.over.group, point.over.key)
    everything = tuple(cells.values())
    return sweep.Sweep(cells=everything, baselines=baselines, endings=sweep.endings(everything, findings))
