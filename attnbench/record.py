"""What is asked (Cell) and what happened (Record), and their JSON. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any

from attnbench.axes import DEFAULTS, OFF, TOGETHER, Axes, Mode, Scope, variant
from attnbench.reading import MisreadError, from_json, given_as, structured

__all__ = [
    "CHECKSUM",
    "FORMAT",
    "SEALED",
    "Cell",
    "Mode",
    "Options",
    "Record",
    "Scope",
    "Status",
    "Task",
    "Unit",
    "Value",
    "checksum",
    "metrics_from_dict",
]

FORMAT = 3
"""Version of the JSON below; a reader refuses records of a later one.

History: 1, the first; 2, some metrics have other names, and a cell may lack fields that have their default; 3, a line
has its own checksum, that of its samples, the settings it was measured with and the limits that its bound follows from,
and the throughput of a layer is that of one layer, as its latency is.
"""
SEALED = 3
"""The first format whose lines have a checksum."""
CHECKSUM = "sha256"
"""What a line calls the checksum of the rest of it."""
_NAMES = ("hardware", "environment_id", "torch_version")
"""Of an environment, what rows are put together by."""
_ALWAYS_IN_KEYS = frozenset(
    {
        "task",
        "scope",
        "mechanism",
        "options",
        "distribution",
        "network",
        "head",
        "height",
        "width",
        "batch",
        "mode",
        "dtype",
        "device",
        "threads",
        "compiled",
        "stage",
        "dim",
        "heads",
        "depth",
        "dataset",
        "checkpoint",
        "checkpoint_sha256",
        "seeds",
        "epochs",
    }
)
"""Fields of a cell that its key is made of whatever they are: those of format 1, by whose keys runs lie on disk.

A field that is added later is part of a key only where it differs from its default, so that no key changes by it.
"""

_ALWAYS_ASKED = tuple(sorted(_ALWAYS_IN_KEYS))
_always_of = attrgetter(*_ALWAYS_ASKED)
_SORTED = json.JSONEncoder(sort_keys=True)
_FOR_PEOPLE = frozenset({"alias", "given", "at_default"})
"""Fields of a cell that are no part of what is asked."""
_FORMER_METRICS = {
    "bound_share": "roofline_fraction",
    "least_bytes": "bytes_lower_bound",
    "switches_undone": "torch_flags_restored",
}
"""What metrics were called in records of format 1."""

Value = str | int | float | bool | None
Options = Mapping[str, Value]
Unit = tuple[str, str]
"""What has one row: the key of a cell, and the kind of hardware that it was asked for on, empty for any."""


class Status(StrEnum):
    """How a cell ended."""

    OK = "ok"
    UNSUPPORTED = "unsupported"
    OUT_OF_MEMORY = "out-of-memory"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    FAILED = "failed"
    REJECTED = "rejected"
    """It ended well, and what its figures say cannot be true of the layer."""
    OVER_BUDGET = "over-budget"
    """It was not timed: by what its machine can do it cannot keep the limit that was given."""
    ABSENT = "absent"
    """It was not begun: no machine of the kind of hardware that it was asked for on was there."""

    @property
    def precedence(self) -> int:
        """Which of several rows of a cell counts: that of the highest, what ended ok, before what was not begun."""
        return {Status.OK: 2, Status.ABSENT: 0}.get(self, 1)


class Task(StrEnum):
    """Whether a cell asks for what the mechanism costs, and how far, or for how well it learns."""

    COUNTS = "counts"
    """Parameters and multiply-adds: nothing is run."""
    MEMORY = "memory"
    """Those and the peak of memory: nothing is timed."""
    COST = "cost"
    ACCURACY = "accuracy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell(Axes):
    """One point of a sweep: everything that was asked, nothing that was found. Its axes stand in attnbench.axes.

    Example:
        >>> cell = Cell(mechanism="qna", height=224, width=224)
        >>> cell.device, cell.batch
        ('cpu', 1)
        >>> cell.group == Cell(mechanism="hmhsa", height=224, width=224).group
        True
    """

    task: Task = Task.COST
    alias: str = ""
    """What the user calls it, for people; the same cell under another name is the same cell."""
    given: tuple[str, ...] = ()
    """Names of the options that the user gave, for people likewise: tables say them."""
    at_default: tuple[str, ...] = ()
    """Names of the options that have their default, for people likewise: what is shown to be typed leaves them out."""
    mechanism: str
    """Name of a registered mechanism, or ``FILE.py:Class``; empty for a network of somebody else's."""
    options: Options = field(default_factory=dict)
    """Every option of the mechanism with its value, defaults included, but for those that it was given later and that
    leave it as it was before: ``Mechanism.added``. So no option that comes renames a cell on disk."""
    distribution: str = ""
    """Where the mechanism comes from, with its version: what a changed plugin changes."""
    network: str = ""
    dataset: str = ""
    """Data set of an accuracy cell."""
    checkpoint: str = ""
    """File of the weights that a network is evaluated with; a cost cell has none, its figures do not depend on them."""
    checkpoint_sha256: str = ""
    """Hash of that file's content, its first 12 digits."""
    class_order: str = ""
    """How the classes of a folder of images are numbered, as asked for; empty for what is usual."""
    class_order_sha256: str = ""
    """Hash of the file that says it, its first 12 digits; empty where it is none."""
    seeds: int = 0
    epochs: int = 0
    recipe: str = ""
    """Name of the recipe that it is trained by; empty where it is not by one."""

    @property
    def key(self) -> str:
        """Hash of what was asked: the name under which a cell is found again, also by later versions."""
        return _digest(_asked(self))

    @property
    def group(self) -> str:
        """Hash of what cells must share for their latencies to be comparable."""
        varied: dict[str, Any] = {name: DEFAULTS[name] for name in TOGETHER}
        loose = replace(self, mechanism="", options={}, distribution="", network="", **varied)
        return _digest(
            _asked(replace(loose, checkpoint="", checkpoint_sha256="", class_order="", class_order_sha256=""))
        )

    @property
    def products(self) -> str:
        """The type that its products are computed in, as far as what was asked tells."""
        return self.dtype if self.autocast == OFF else self.autocast

    @property
    def name(self) -> str:
        """The mechanism or the network."""
        return self.network or self.mechanism

    @property
    def label(self) -> str:
        """The user's name for it or its own, and what tells it from others of that name in its group."""
        return ", ".join([self.alias or self.name, *variant(self)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What happened to one cell. ``metrics`` holds only what was measured, by the names in attnbench.metrics.

    Example:
        >>> cell = Cell(mechanism="qna", height=224, width=224)
        >>> record = Record(cell=cell, status=Status.OK, metrics={"macs": 7})
        >>> Record.from_json(record.to_json()) == record
        True
    """

    cell: Cell
    status: Status
    reason: str = ""
    """Why the status is not ok, in one line; empty if it is."""
    metrics: Mapping[str, Value] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """How it was measured, by the names in ``attnbench.runs.job.Settings``."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """The machine's limits that the row's bound follows from; empty if it has none."""
    samples_sha256: str = ""
    """Of the file with its timed calls; empty if it was not timed."""
    run_id: str = ""
    started_at: str = ""
    """ISO 8601, UTC."""
    attnbench_version: str = ""
    kind: str = ""
    """The kind of hardware that a sweep asked for it on; empty where it was asked for on any, and left out then."""

    @property
    def unit(self) -> Unit:
        """What it is the row of: a cell, on a kind of hardware."""
        return self.cell.key, self.kind

    def to_json(self) -> str:
        """Return the record as one line."""
        line = {"format": FORMAT, "cell_key": self.cell.key, **asdict(self)}
        if not self.kind:
            del line["kind"]
        return json.dumps(line | {CHECKSUM: checksum(line)}, sort_keys=True)

    @classmethod
    def from_json(cls, line: str) -> Record:
        """Return the record that a line holds.

        Raises:
            MisreadError: the line is not a record, or one of a later format.
        """
        read = from_json(line)
        if not isinstance(read, dict) or type(read.get("format")) is not int or "cell" not in read:
            raise MisreadError(["not a record of attnbench"])
        found = read.pop("format")
        if found > FORMAT:
            said = f"a record of format {found}; this attnbench reads up to {FORMAT}, a newer one is needed"
            raise MisreadError([said])
        for of_the_line in ("cell_key", CHECKSUM):
            read.pop(of_the_line, None)
        if isinstance(read["cell"], dict):
            read["cell"] |= _left_at_default(read["cell"])
        if isinstance(read.get("metrics"), dict):
            read["metrics"] = metrics_from_dict(read["metrics"])
        record = structured(read, cls)
        _check_names(record.environment)
        if found >= SEALED:
            return record
        return replace(record, metrics=_with_throughput_of_a_layer(record.cell, record.metrics))


def _left_at_default(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return which options of a cell had their default, where a line does not say it but says which were given.

    The backend is none of them: it could be chosen for all mechanisms at once, and was not given with its own then.
    """
    options, given = cell.get("options"), cell.get("given")
    if "at_default" in cell or not (isinstance(options, dict) and isinstance(given, list)):
        return {}
    return {"at_default": [name for name in options if name not in [*given, "backend"]]}


def _check_names(environment: Mapping[str, Any]) -> None:
    """Raise unless what rows are put together by is a text where it is there."""
    mistakes = [
        f"environment.{name}: expected a text, got {given_as(environment[name])}"
        for name in _NAMES
        if not isinstance(environment.get(name), str | None)
    ]
    if mistakes:
        raise MisreadError(mistakes)


def _with_throughput_of_a_layer(cell: Cell, metrics: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return the metrics of a format in which a layer's throughput was that of the whole stack beside its latency."""
    latency = metrics.get("latency_median_s")
    if cell.scope is not Scope.LAYER or not isinstance(latency, float) or "throughput_img_per_s" not in metrics:
        return metrics
    return {**metrics, "throughput_img_per_s": cell.batch / latency}


def checksum(line: Mapping[str, Any]) -> str:
    """Return the checksum of a record's line, itself left out.

    It finds what was changed by accident or by hand. It is no signature: whoever changes a line can work it out anew.
    """
    rest = {name: value for name, value in line.items() if name != CHECKSUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def metrics_from_dict(found: Mapping[str, Value]) -> dict[str, Value]:
    """Return metrics by the names that they have today."""
    return {_FORMER_METRICS.get(name, name): value for name, value in found.items()}


@cache
def _added_later(kind: type[Cell]) -> tuple[tuple[str, Any], ...]:
    """Return the fields of a cell that a key has only where they differ from their default, and that."""
    left_out = _ALWAYS_IN_KEYS | _FOR_PEOPLE
    return tuple((each.name, each.default) for each in fields(kind) if each.name not in left_out)


def _asked(cell: Cell) -> dict[str, Any]:
    """Return what a key is made of."""
    # Not asdict, which copies: a report asks a hundred thousand cells for their keys.
    asked = dict(zip(_ALWAYS_ASKED, _always_of(cell), strict=True))
    asked["options"] = dict(cell.options)
    for name, default in _added_later(type(cell)):  # type: ignore[arg-type]  # a hash is taken for that of the class
        value = getattr(cell, name)
        if value != default:
            asked[name] = value
    return asked


def _digest(asked: Mapping[str, Any]) -> str:
    return hashlib.sha256(_SORTED.encode(asked).encode()).hexdigest()[:16]
