"""Which rows of a frame may be compared: those that differ in nothing but the mechanism.

A frame has one row per cost cell and the columns of ``records.csv``; any of them may be missing or empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from attnbench import axes as table_of_axes
from attnbench import inert
from attnbench.metrics import METRICS, Compared, compared, format_value, is_number

_PLACES = {"device": {"machine": "{}"}}
"""What is said behind an axis though it is none: what the device was."""
PHRASES = {
    name: phrase
    for axis, own in table_of_axes.PHRASES.items()
    for name, phrase in ({axis: own} | _PLACES.get(axis, {})).items()
} | {"run_id": "run {}"}
"""What rows of one table have in common besides the resolution, and how it is said."""

AXES = tuple(PHRASES)
MACHINE = ("device", "machine", "threads")
"""Those that say on what a row was measured: hardware as an axis."""
COUNTED = tuple(axis.fields[0] for axis in table_of_axes.AXES.values() if axis.counted and axis.fields[0] in PHRASES)
"""The axes that a count of operations depends on."""
_OTHER_COLUMNS = (
    *("label", "mechanism", "network", "options", "res_height", "res_width", "hardware", "environment_id"),
    *("status", "reason", "is_baseline", "accuracy_reason", "dataset", "epochs"),
    *("hardware_kind", "machine_remark", "attnbench_version", "torch_version"),
)


Places = NDArray[np.intp]
"""Of some rows in their frame, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparableRows:
    """Rows that differ in nothing but the mechanism."""

    height: int
    width: int
    conditions: tuple[str, ...]
    """What tells these rows from the other comparisons of the frame, the resolution aside."""
    places: Places
    runs: int
    """In how many runs they were measured."""

    @property
    def title(self) -> str:
        """The resolution and the conditions, in a line, and whether all was measured in one run."""
        together = [] if self.runs < 2 else [f"rows of {self.runs} runs"]
        return ", ".join([f"resolution {resolution(self.height, self.width)}", *self.conditions, *together])


def resolution(height: int, width: int) -> str:
    """Return a resolution as people write it: ``224``, or ``224x448`` as height by width."""
    return f"{height}" if height == width else f"{height}x{width}"


def prepared(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with every column that a report reads, None for whatever is empty, and a ``machine``."""
    needed = dict.fromkeys([*frame.columns, *AXES, *METRICS, *_OTHER_COLUMNS])
    rows = frame.reset_index(drop=True).reindex(columns=list(needed)).astype(object)
    rows = rows.where(rows.notna() & (rows != ""), None)
    names = zip(rows["label"], rows["network"], rows["mechanism"], strict=True)
    rows["label"] = [inert.line(label or network or mechanism or "unnamed") for label, network, mechanism in names]
    rows["machine"] = _machines(rows)
    return rows


def sizes(rows: pd.DataFrame) -> list[tuple[int, int]]:
    """Return the heights and widths of the images, the fewest pixels first."""
    found = {(int(height), int(width)) for height, width in zip(rows["res_height"], rows["res_width"], strict=True)}
    return sorted(found, key=lambda size: (size[0] * size[1], size))


def comparisons(rows: pd.DataFrame) -> list[ComparableRows]:
    """Return prepared rows as comparisons, smallest resolution first, otherwise in the order in which they were run."""
    changing = varying(rows)
    heights, widths, runs = (rows[name].tolist() for name in ("res_height", "res_width", "run_id"))
    found = [
        ComparableRows(
            height=int(heights[places[0]]),
            width=int(widths[places[0]]),
            conditions=conditions,
            places=places,
            runs=len({runs[place] for place in places}),
        )
        for conditions, places in apart(rows, changing, within=("res_height", "res_width"))
    ]
    return sorted(found, key=lambda each: (each.height * each.width, each.height, each.width))


def apart(
    rows: pd.DataFrame, axes: Sequence[str], *, within: Sequence[str] = ()
) -> list[tuple[tuple[str, ...], Places]]:
    """Return the places of rows that are the same on some axes, with the phrases that name them, in order.

    Args:
        rows: What to take apart.
        axes: The axes to go by.
        within: Columns by which rows are taken apart as well, which phrases leave out.
    """
    if not len(rows):
        return []
    by = [*within, *axes]
    if not by:
        return [((), np.arange(len(rows)))]
    numbers = rows.groupby(by, sort=False, dropna=False).ngroup().to_numpy()
    order = np.argsort(numbers, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    values = {axis: rows[axis].tolist() for axis in axes}
    return [(_phrases({axis: each[part[0]] for axis, each in values.items()}), part) for part in parts]


def split(rows: pd.DataFrame, *, of: pd.DataFrame, axes: Sequence[str] = AXES) -> list[tuple[tuple[str, ...], Any]]:
    """Return rows apart by those axes that vary within the whole frame, each part with the phrases that name it.

    Args:
        rows: What to take apart.
        of: The frame that decides what varies and so needs naming.
        axes: The axes to go by.
    """
    return [(conditions, rows.iloc[places]) for conditions, places in apart(rows, varying(of, axes))]


def varying(rows: pd.DataFrame, axes: Sequence[str] = AXES) -> list[str]:
    """Return the axes on which rows differ; the name of a run only where two runs have a row of the same.

    A sweep that was resumed, or to which a resolution was added, is one sweep.
    """
    found = [axis for axis in axes if rows[axis].nunique(dropna=False) > 1]
    others = [axis for axis in found if axis != "run_id"]
    same = rows.groupby([*others, "label", "res_height", "res_width"], dropna=False)["run_id"]
    return found if same.nunique(dropna=False).max() > 1 else others


def constants(rows: pd.DataFrame, axes: Sequence[str] = AXES) -> tuple[str, ...]:
    """Return, in phrases, what all rows have in common. The name of a run says nothing, so it is left out."""
    same = [axis for axis in axes if axis != "run_id" and rows[axis].nunique(dropna=False) == 1]
    return _phrases({axis: rows[axis].iloc[0] for axis in same})


def _phrases(values: Mapping[str, object]) -> tuple[str, ...]:
    """Return what is said about values on axes, empty ones left out."""
    return tuple(PHRASES[axis].format(_plain(value)) for axis, value in values.items() if not _is_empty(value))


def counted(rows: pd.DataFrame) -> list[tuple[tuple[str, ...], Any]]:
    """Return rows apart by the axes that a count of operations depends on: not by machine, dtype or batch."""
    return split(rows, of=rows, axes=COUNTED)


def accuracy_conditions(rows: pd.DataFrame) -> str:
    """Return what accuracy figures are: their kind, data set, seeds and epochs, where they all share it."""
    measured = rows[rows[[*compared(Compared.DIFFERENCE)]].map(is_number).any(axis=1)]
    sayings = {"accuracy_kind": "{}", "dataset": "on {}", "epochs": "{} epochs", "accuracy_seeds": "{} seeds"}
    said = [
        saying.format(_plain(measured[column].iloc[0]))
        for column, saying in sayings.items()
        if measured[column].nunique(dropna=False) == 1 and not _is_empty(measured[column].iloc[0])
    ]
    return ", ".join(said)


def _plain(value: object) -> str:
    return format_value("latency_samples", value) or str(value)


def _is_empty(value: object) -> bool:
    return value is None or value != value  # noqa: PLR0124 - NaN


def _machines(rows: pd.DataFrame) -> list[str | None]:
    """Return the hardware of every row, with its environment where one hardware has several with as many threads.

    A cell whose worker never answered knows neither: it has those of its run, if the run had only one on its device,
    else those of the kind of hardware that it was asked for on, or at least the name of that.
    """
    # Environments that differ in threads are told apart by these, which are an axis.
    environments = rows.groupby(["hardware", "threads"], dropna=False)["environment_id"].nunique()
    several = set(environments[environments > 1].index.get_level_values("hardware"))
    of_run: dict[tuple[object, object], set[str]] = {}
    named: list[str | None] = []
    for hardware, environment in zip(rows["hardware"], rows["environment_id"], strict=True):
        named.append(f"{hardware} ({environment})" if hardware in several else hardware or environment)
    runs = list(zip(rows["run_id"], rows["device"], strict=True))
    kinds = [*rows["hardware_kind"]]
    of_kind: dict[object, set[str]] = {}
    for run, kind, name in zip(runs, kinds, named, strict=True):
        of_run.setdefault(run, set()).update([name] if name else [])
        of_kind.setdefault(kind, set()).update([name] if name and kind else [])
    return [
        name or _only(of_run[run]) or _only(of_kind[kind]) or kind
        for run, kind, name in zip(runs, kinds, named, strict=True)
    ]


def _only(names: set[str]) -> str | None:
    return next(iter(names)) if len(names) == 1 else None
