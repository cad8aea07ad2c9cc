"""Reading the axes of a request: every value checked, and every mistake said with what would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

from attnbench.accuracy import classes
from attnbench.accuracy.composites.table import is_composite
from attnbench.accuracy.dense.table import is_annotated
from attnbench.accuracy.recipes import table as recipes
from attnbench.axes import AXES, one_of, resolution
from attnbench.devices import names
from attnbench.errors import DataError, did_you_mean
from attnbench.models.dense import DEFAULT_SIZE, DenseTask
from attnbench.plan.preflight import Finding
from attnbench.plan.request import USUAL, Request
from attnbench.record import Scope, Task

UNTIL = {"counts": Task.COUNTS, "memory": Task.MEMORY, "latency": Task.COST}
T = TypeVar("T")
Values: TypeAlias = Mapping[str, Sequence[Any]]
"""What an axis is to have, by its option; nothing where that depends on the rest of the sweep."""

_EVALUATED_ON = "folder:"


def read(request: Request, devices: Sequence[str], mistakes: list[str]) -> Values:
    """Return the values of every axis, and add to ``mistakes`` what cannot be read or is given twice."""
    values = {}
    for name, axis in AXES.items():
        parse = partial(names.parse, devices=devices) if name == "device" else axis.read
        values[name] = _parsed(name, request.written(name), parse, mistakes)
        if name in request.axes and not request.axes[name]:
            mistakes.append(f"--{name} is empty")
    return values


def sizes_under(head: str, values: Values) -> Sequence[tuple[int, int]]:
    """Return the image sizes that networks have under a head, or under none: those asked for, else what is usual."""
    usual = DEFAULT_SIZE[DenseTask(head)] if head else resolution(USUAL)
    return values["res"] or [usual]


def depth(request: Request, mistakes: list[str]) -> Task:
    """Return how far every cell goes, and add to ``mistakes`` what else cannot be read."""
    (task,) = _parsed("until", [request.until], one_of(UNTIL), mistakes) or [Task.COST]
    return task


def _parsed(name: str, values: Sequence[str], parse: Callable[[str], T], mistakes: list[str]) -> list[T]:
    parsed: list[T] = []
    for value in values:
        try:
            parsed.append(parse(value))
        except ValueError as error:
            mistakes.append(f"--{name} {value!r}: {error}")
    mistakes.extend(duplicates(name, map(_written_value, parsed)))
    return parsed


def repeated(request: Request) -> list[str]:
    """Say what is named more than once; two sweeps of one thing are none of two."""
    named = {"mechanisms": request.mechanisms, "networks": request.networks, "backend": request.backend}
    return [said for name, values in named.items() for said in duplicates(name, values)]


def missing(request: Request, values: Values) -> list[str]:
    """Say which scope has nothing to measure."""
    scopes = values["scope"]
    found = []
    if Scope.NETWORK in scopes and not request.networks:
        found.append("--scope network: name them with --networks, such as hat_net_small,swin_tiny_patch4_window7_224")
    if set(scopes) - {Scope.NETWORK} and not request.mechanisms:
        found.append("--scope backbone or layer: name mechanisms with --mechanisms")
    on_networks_only = not is_composite(request.accuracy)  # elsewhere a mechanism's backbone has one, too
    if set(values["task"]) - {""} and Scope.NETWORK not in scopes and on_networks_only:
        found.append("--task: heads are put on networks; name some with --networks")
    if request.networks and Scope.NETWORK not in scopes:
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
    found += duplicates("checkpoint", given) + wrong_order(request.class_order)
    if request.recipe and request.checkpoint:
        found.append("--recipe trains networks from random weights; leave --checkpoint out")
    if not (request.accuracy and names) or is_composite(request.accuracy) or request.recipe:
        return found
    if not request.accuracy.startswith(_EVALUATED_ON) and not is_annotated(request.accuracy):
        found.append(
            f"--accuracy {request.accuracy}: networks are evaluated on folder:PATH, and under heads on ade20k:PATH and "
            "coco:PATH; leave --networks out to train"
        )
    return found + [
        f"--accuracy: {name} would be evaluated with random weights; give --checkpoint {name}=FILE"
        for name in names
        if name not in given
    ]


def wrong_recipe(request: Request) -> list[str]:
    """Say why what is asked for cannot be trained by a recipe."""
    said = recipes.wrong(request.recipe, request.accuracy)
    return [said] if said else []


def wrong_order(asked: str) -> list[str]:
    """Say why an order of classes cannot be used."""
    try:
        classes.check_order(asked)
    except DataError as error:
        return [str(error)]
    return []


def unknown_backends(request: Request, findings: Sequence[Finding]) -> list[str]:
    """Say which backends nobody has."""
    known = {backend for finding in findings for backend in finding.backends}
    return [
        f"--backend {backend!r}: no mechanism of this sweep has it; {did_you_mean(backend, known)}"
        for backend in request.backend
        if backend not in known
    ]


def ambiguous(findings: Sequence[Finding]) -> list[str]:
    """Say which aliases are the names of something else, or are given to two things."""
    named: dict[str, set[str]] = {}
    for finding in findings:
        named.setdefault(finding.wanted.alias or finding.name, set()).add(finding.wanted.spec)
    aliases = dict.fromkeys(finding.wanted.alias for finding in findings if finding.wanted.alias)
    return [
        f"{alias}= is the name of {' and of '.join(sorted(named[alias]))}; give each a name of its own"
        for alias in aliases
        if len(named[alias]) > 1
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
