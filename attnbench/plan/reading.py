"""Reading the axes of a request: every value checked, and every mistake said with what would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from attnbench.devices import names
from attnbench.errors import did_you_mean
from attnbench.models.dense import DenseTask as Head
from attnbench.models.pyramid import SWIN_T_SIZED
from attnbench.plan.preflight import Finding
from attnbench.plan.request import CLASSIFICATION, Request, parse_resolution
from attnbench.record import Mode, Scope, Task

DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
    "half": "float16",
}
UNTIL = {"counts": Task.COUNTS, "memory": Task.MEMORY, "latency": Task.COST}
T = TypeVar("T")

_EVALUATED_ON = "folder:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """The values of every axis, read."""

    task: Task
    """How far every cell goes."""
    res: list[tuple[int, int]]
    """Empty where none was asked for."""
    head: list[str]
    batch: list[int]
    dtype: list[str]
    device: list[str]
    mode: list[Mode]
    compiled: list[bool]
    scope: list[Scope]
    stage: list[int]


def read(request: Request, devices: Sequence[str], mistakes: list[str]) -> Axes:
    """Return the axes, and add to ``mistakes`` what cannot be read or is given twice."""

    def axis(name: str, values: Sequence[str], parse: Callable[[str], T]) -> list[T]:
        parsed: list[T] = []
        if not values:
            mistakes.append(f"--{name} is empty")
        for value in values:
            try:
                parsed.append(parse(value))
            except ValueError as error:
                mistakes.append(f"--{name} {value!r}: {error}")
        mistakes.extend(duplicates(name, map(_written_value, parsed)))
        return parsed

    for name in ("depth", "threads", "seeds", "dim", "heads"):
        value = getattr(request, name)
        if value is not None and value < 1:
            mistakes.append(f"--{name} {value}: expected a whole number from 1")
    if request.epochs < 0:
        mistakes.append(f"--epochs {request.epochs}: expected a whole number from 1, or nothing for the data set's own")
    (task,) = axis("until", [request.until], _one_of(UNTIL)) or [Task.COST]
    return Axes(
        task=task,
        res=axis("res", request.res, parse_resolution) if request.res else [],
        head=axis("task", request.task, _one_of({CLASSIFICATION: "", **{head.value: head.value for head in Head}})),
        batch=axis("batch", request.batch, _parse_count),
        dtype=axis("dtype", request.dtype, _one_of(DTYPES)),
        device=axis("device", request.device, lambda text: names.parse(text, devices)),
        mode=axis("mode", request.mode, _one_of({mode.value: mode for mode in Mode})),
        compiled=axis("compile", request.compile, _one_of({"off": False, "on": True})),
        scope=axis("scope", request.scope, _one_of({scope.value: scope for scope in Scope})),
        stage=axis(
            "stage", request.stage, _one_of({str(stage + 1): stage + 1 for stage in range(len(SWIN_T_SIZED.dims))})
        ),
    )


def missing(request: Request, axes: Axes) -> list[str]:
    """Say which scope has nothing to measure."""
    found = []
    if Scope.NETWORK in axes.scope and not request.networks:
        found.append("--scope network: name them with --networks, such as hat_net_small,swin_tiny_patch4_window7_224")
    if set(axes.scope) - {Scope.NETWORK} and not request.mechanisms:
        found.append("--scope backbone or layer: name mechanisms with --mechanisms")
    if set(axes.head) - {""} and Scope.NETWORK not in axes.scope:
        found.append("--task: heads are put on networks; name some with --networks")
    if request.networks and Scope.NETWORK not in axes.scope:
        found.append("--networks: add network to --scope")
    return found


def wrong_checkpoints(request: Request) -> list[str]:
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
    found += duplicates("checkpoint", given)
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


def unknown_backends(request: Request, findings: Sequence[Finding]) -> list[str]:
    """Say which backends nobody has."""
    known = {backend for finding in findings for backend in finding.backends}
    return [
        f"--backend {backend!r}: no mechanism of this sweep has it; {did_you_mean(backend, known)}"
        for backend in request.backend
        if backend not in known
    ]


def duplicates(name: str, values: Iterable[object]) -> list[str]:
    """Say which values are given more than once."""
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
