"""Which records of two runs belong together, and what their environments differ in. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from attnbench.metrics import METRICS, Compared, is_number
from attnbench.record import Cell, Record, Status

_NOT_THE_ENVIRONMENT = ("code", "state")
"""Parts of an environment that may differ: which attnbench it was, and the state of the moment."""
_SUMS_UP_OTHERS = ("environment_id", "hardware", "torch_version")
_NOT_RECORDED = "not recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The records of one cell in both runs."""

    base: Record
    head: Record

    @property
    def changed_options(self) -> str:
        """Options that only one of the two has, because the mechanism gained or lost them; empty if there are none."""
        base, head = self.base.cell.options, self.head.cell.options
        gained = [f"option {name}={value} in head only" for name, value in head.items() if name not in base]
        return ", ".join(
            gained + [f"option {name}={value} in base only" for name, value in base.items() if name not in head]
        )

    def missing(self, metric: str) -> str | None:
        """Say in which run a metric is missing, empty if in none, None if nothing is to be said of it.

        What a cell that did not end ok has not measured is said by its status.
        """
        has = [is_number(record.metrics.get(metric)) for record in (self.base, self.head)]
        if all(has):
            return "; ".join(self._doubts(metric))
        both_ok = self.base.status is self.head.status is Status.OK
        return f"not measured in {'head' if has[0] else 'base'}" if any(has) and both_ok else None

    def _doubts(self, metric: str) -> Iterator[str]:
        """Yield what speaks against a metric in either run: a ratio is not judged then, what is exact is."""
        if METRICS[metric].compared is not Compared.RATIO:
            return
        for side, record in (("base", self.base), ("head", self.head)):
            said = "; ".join(
                str(record.metrics[each]) for each in METRICS[metric].doubted_by if record.metrics.get(each)
            )
            if said:
                yield f"{side} is suspicious: {said}"

    def differing_fields(self, names: Sequence[str]) -> str:
        """Return those of some fields of the environment that differ, with both values; all if none was recorded."""
        base, head = flat(self.base.environment), flat(self.head.environment)
        return _listed(base, head, [name for name in names if not base or base.get(name) != head.get(name)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Two runs, cell by cell, in the order of head."""

    pairs: tuple[Pair, ...]
    only_in_base: tuple[Cell, ...]
    only_in_head: tuple[Cell, ...]


def match(base: Sequence[Record], head: Sequence[Record]) -> Matched:
    """Match the cells of two runs.

    Cells are the same if the same was asked, whichever version of the plugin answered; of several versions in one run
    the one that ran last counts. A mechanism that gained or lost an option has cells that say so: they are the same
    where all else agrees and there is no other candidate.
    """
    old, new = _by_question(base), _by_question(head)
    partner = {asked: asked for asked in new if asked in old}
    partner |= _with_changed_options(
        {asked: record.cell for asked, record in old.items() if asked not in new},
        {asked: record.cell for asked, record in new.items() if asked not in old},
    )
    matched = set(partner.values())
    return Matched(
        pairs=tuple(Pair(base=old[partner[asked]], head=new[asked]) for asked in new if asked in partner),
        only_in_base=tuple(record.cell for asked, record in old.items() if asked not in matched),
        only_in_head=tuple(record.cell for asked, record in new.items() if asked not in partner),
    )


def environment_differences(base: Mapping[str, Any], head: Mapping[str, Any]) -> str:
    """Return in which fields two environments differ, with both values; empty if latencies may be compared.

    Neither which attnbench measured nor the state of the moment counts. An environment that was not recorded agrees
    with none.
    """
    ids = base.get("environment_id"), head.get("environment_id")
    if ids[0] is not None and ids[0] == ids[1]:
        return ""
    old, new = flat(base), flat(head)
    differing = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    in_detail = [name for name in differing if name not in _SUMS_UP_OTHERS]
    return _listed(old, new, in_detail or differing or ["environment_id"])


def flat(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return an environment's fields by dotted names, those left out that any two runs differ in."""
    fields: dict[str, Any] = {}
    for name, value in environment.items():
        if name in _NOT_THE_ENVIRONMENT:
            continue
        if isinstance(value, Mapping):
            fields |= {f"{name}.{inner}": one for inner, one in flat(value).items()}
        else:
            fields[name] = value
    return fields


def _by_question(records: Sequence[Record]) -> dict[str, Record]:
    in_time = sorted(records, key=lambda record: record.started_at)
    latest = {replace(record.cell, distribution="").key: record for record in in_time}
    asked = dict.fromkeys(replace(record.cell, distribution="").key for record in records)
    return {key: latest[key] for key in asked}


def _with_changed_options(old: Mapping[str, Cell], new: Mapping[str, Cell]) -> dict[str, str]:
    alike: dict[str, list[str]] = {}
    for before, cell in old.items():
        alike.setdefault(_apart_from_options(cell), []).append(before)
    candidates = [
        (after, before)
        for after, cell in new.items()
        for before in alike.get(_apart_from_options(cell), ())
        if _agree(old[before], cell)
    ]
    uses = Counter(asked for pair in candidates for asked in pair)
    return {after: before for after, before in candidates if uses[after] == uses[before] == 1}


def _apart_from_options(cell: Cell) -> str:
    return replace(cell, distribution="", options={}).key


def _agree(base: Cell, head: Cell) -> bool:
    """Return whether two cells give the options that both know the same values."""
    return all(head.options[name] == value for name, value in base.options.items() if name in head.options)


def _listed(base: Mapping[str, Any], head: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{name}: {_said(base.get(name))} / {_said(head.get(name))}" for name in names)


def _said(value: object) -> str:
    return _NOT_RECORDED if value is None else str(value)
