"""Records as rows for pandas: the columns of ``records.csv``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

import pandas as pd

from attnbench.accuracy.dense.table import annotated_by, is_annotated
from attnbench.axes import AXES, INT8
from attnbench.metrics import METRICS, Needs, of
from attnbench.record import Cell, Record, Task
from attnbench.report.columns import COLUMNS

_FIELDS = {column: name for axis in AXES.values() for column, name in zip(axis.columns, axis.fields, strict=True)}
_OF_ACCURACY = frozenset(of(Needs.ACCURACY))
_OF_ONE_SCOPE = [column for axis in AXES.values() if axis.scope for column in axis.columns]


def rows(records: Sequence[Record]) -> pd.DataFrame:
    """Return one row per cost cell, with the accuracy of the same mechanism and options beside it.

    A network's accuracy stands beside its costs at the image size that it was evaluated at; beside what was quantised,
    the accuracy of that; beside its costs under a head, what it came to under that head where it was trained under one.
    Of several accuracies, that
    of the row's own run stands there, otherwise the last. What only the accuracy was asked of has a row as well.
    """
    accuracies = {_who(record.cell): record for record in records if record.cell.task is Task.ACCURACY}
    own = {(_who(record.cell), record.run_id): record for record in records if record.cell.task is Task.ACCURACY}
    costs = [(_whose(record.cell, accuracies), record) for record in records if record.cell.task is not Task.ACCURACY]
    found = [_row(record) | _accuracy(own.get((who, record.run_id)) or accuracies.get(who)) for who, record in costs]
    seen = {who for who, _ in costs}
    found += [_row(record) | _accuracy(record) for who, record in accuracies.items() if who not in seen]
    _tell_apart(found)
    # As objects: a count stays a whole number where another row has none.
    return pd.DataFrame(found, columns=list(COLUMNS), dtype=object)


def _who(cell: Cell) -> tuple[object, ...]:
    size = (cell.height, cell.width, cell.head) if cell.network else ()
    padding = (cell.size_divisor,) if is_annotated(cell.dataset) else ()
    quantized = (cell.dtype, cell.runtime) if cell.dtype == INT8 else ()
    return cell.mechanism, cell.network, _options(cell), cell.distribution, size, padding, quantized


def _whose(cell: Cell, known: Container[tuple[object, ...]]) -> tuple[object, ...]:
    """Return by what the accuracy that stands beside a cell's costs is known: under its head, else of the network.

    What was evaluated on annotated images was evaluated with the padding that costs were measured with.
    """
    under_head = [_who(replace(cell, dataset=name)) for name in annotated_by(cell.head)]
    known_as = [*under_head, _who(cell), *([_who(replace(cell, head=""))] if cell.head else [])]
    return next((who for who in known_as if who in known), known_as[-1])


def _options(cell: Cell) -> str:
    return json.dumps(dict(cell.options), sort_keys=True)


def _row(record: Record) -> dict[str, Any]:
    cell, environment = record.cell, record.environment
    known = {name: value for name, value in record.metrics.items() if name in METRICS}
    return {
        "run_id": record.run_id,
        "cell_key": cell.key,
        "started_at": record.started_at,
        "mechanism": cell.mechanism,
        "options": _options(cell),
        "plugin_distribution": cell.distribution,
        "network": cell.network,
        **_axes(cell),
        "hardware": environment.get("hardware"),
        "backend": cell.options.get("backend"),
        "status": record.status.value,
        "reason": record.reason,
        "environment_id": environment.get("environment_id"),
        "hardware_kind": record.kind or None,
        "attnbench_version": record.attnbench_version,
        "torch_version": environment.get("torch_version"),
        "label": cell.label,
        "alias": cell.alias,
        "given": () if cell.alias else cell.given,
        "is_baseline": bool(record.metrics.get("is_baseline")),
        **known,
    }


def _axes(cell: Cell) -> dict[str, Any]:
    """Return the columns of a cell's axes, None for one that means nothing in its scope."""
    found = {column: getattr(cell, name) for column, name in _FIELDS.items()}
    empty = {column: None for column in _OF_ONE_SCOPE if not found[column]}
    return {name: value.value if isinstance(value, StrEnum) else value for name, value in found.items()} | empty


def _accuracy(record: Record | None) -> dict[str, Any]:
    if record is None:
        return {}
    measured = {name: value for name, value in record.metrics.items() if name in _OF_ACCURACY}
    return measured | {
        "accuracy_status": record.status.value,
        "accuracy_reason": record.reason,
        "dataset": record.cell.dataset,
        "epochs": record.metrics.get("epochs", record.cell.epochs or None),
    }


def _tell_apart(found: Sequence[dict[str, Any]]) -> None:
    """Give the rows their labels: a short name, the options given, and those in which rows of one name differ.

    What a row says of its baseline is the name that the worker knew it by, and follows.
    """
    told = {row["label"]: set[str]() for row in found}
    short = _short_names(found)
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        by_name.setdefault(_name(row), []).append(row)
    for name, same in by_name.items():
        options = [json.loads(row["options"]) for row in same]
        names = dict.fromkeys(name for each in options for name in each)
        differing = [name for name in names if len({str(each.get(name)) for each in options}) > 1]
        for row, each in zip(same, options, strict=True):
            known, label = row["label"], short.get(name, name) + row["label"].removeprefix(name)
            said = [name for name in names if name in each and (name in differing or name in row["given"])]
            row["label"] = ", ".join([label, *(f"{name}={each[name]}" for name in said)])
            told[known].add(row["label"])
    for row in found:
        labels = told.get(row.get("baseline"), set())
        if len(labels) == 1:
            (row["baseline"],) = labels


def _name(row: Mapping[str, Any]) -> str:
    return str(row["alias"] or row["network"] or row["mechanism"])


def _short_names(found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the class alone for a file or module and its class, or as much before it as tells rows apart."""
    names = list(dict.fromkeys(map(_name, found)))
    tails = {name: _tails(name) for name in names if ":" in name}
    taken = Counter(tail for each in tails.values() for tail in each)
    taken.update(name for name in names if name not in tails)
    return {name: next((tail for tail in each if taken[tail] == 1), name) for name, each in tails.items()}


def _tails(name: str) -> list[str]:
    """Return the ends of a name, the shortest first.

    Example:
        >>> _tails("timm.models.levit:Attention")
        ['Attention', 'levit:Attention', 'models.levit:Attention', 'timm.models.levit:Attention']
    """
    place, _, attribute = name.rpartition(":")
    joint = "/" if place.endswith(".py") else "."
    parts = place.split(joint)
    return [attribute, *(f"{joint.join(parts[-count:])}:{attribute}" for count in range(1, len(parts) + 1))]
