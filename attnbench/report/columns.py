"""The columns of ``records.csv``, with what each says: from the tables of axes and metrics. No pandas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from attnbench.axes import AXES, Axis
from attnbench.metrics import METRICS
from attnbench.record import Status

_ASKED = {
    "run_id": "the run that measured the row: when it began, and a number of its own",
    "cell_key": "hash of what was asked, by which a row and its file in samples/ are found again",
    "started_at": "when the row was begun, ISO 8601, UTC",
    "mechanism": "name of the mechanism, or FILE.py:Class; empty for a network of somebody else's",
    "options": "every option of the mechanism with its value, as JSON, defaults included; one that came later is left "
    "out where it leaves the layer as it was",
    "plugin_distribution": "where the mechanism comes from, with its version",
    "network": "name of the published network; empty in the other scopes",
}
_ENDED = {
    "hardware": "GPU or processor and its cores, as a person would call them",
    "backend": "the mechanism's implementation, where it has several",
    "status": f"how the cell ended: {', '.join(Status)}",
    "reason": "why the status is not ok, in one line",
}
_ABOUT = {
    "accuracy_reason": "why there is no accuracy, in one line",
    "dataset": "data set of the accuracy",
    "epochs": "passes over it in training",
    "environment_id": "hash of machine, software and flags: latencies compare where it is the same",
    "hardware_kind": "kind of hardware that a sweep over several asked for it on; empty for any",
    "machine_remark": "what speaks against its machine, beside others of its kind or for known ratios",
    "attnbench_version": "version of attnbench that measured the row",
    "torch_version": "version of torch, its build included",
    "label": "what tables call the row",
    "is_baseline": "whether ratios refer to it",
}

ASKED, ENDED, SURROUNDINGS = "what was asked", "how it ended", "where and with what"
"""Groups of columns that are no metrics; those have groups by what it takes to know them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMeaning:
    """What one column says."""

    name: str
    says: str
    unit: str = ""
    better: str = ""
    """Which way it improves; empty if neither."""
    group: str


def _meanings() -> Iterator[ColumnMeaning]:
    yield from _texts(_ASKED, ASKED)
    for axis in AXES.values():
        for column, field in zip(axis.columns, axis.fields, strict=True):
            yield ColumnMeaning(name=column, says=_of_axis(axis, field), group=ASKED)
    yield from _texts(_ENDED, ENDED)
    for name, metric in METRICS.items():
        better = "" if metric.better.value == "neither" else metric.better.value
        yield ColumnMeaning(
            name=name, says=metric.label, unit=metric.unit_in_file, better=better, group=metric.needs.value
        )
    yield from _texts(_ABOUT, SURROUNDINGS)


def _texts(said: Mapping[str, str], group: str) -> Iterator[ColumnMeaning]:
    for name, says in said.items():
        yield ColumnMeaning(name=name, says=says, group=group)


def _of_axis(axis: Axis, field: str) -> str:
    part = f"{field} of " if len(axis.fields) > 1 else ""
    return f"{part}--{axis.option}: {axis.help}"


MEANINGS: Mapping[str, ColumnMeaning] = {meaning.name: meaning for meaning in _meanings()}
"""Every column of a frame with what it says, in order; ``write_csv`` puts those that it promises first."""
COLUMNS = tuple(MEANINGS)
