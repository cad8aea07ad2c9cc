"""A machine beside the others of its kind: who stands out by its limits, or finds known ratios wrong.

Limits are the best of many samples, so that what disturbs a machine for a moment leaves them as they are; a machine
whose limits are lower than those of others of its kind by a fifth is slowed down for good: by heat, a power cap, a
slower memory, a neighbour that never rests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from attnbench.roofline import MachineLimits

APART = 1.25
"""Factor between rates from which machines of a kind are apart: clocks move by as much as a fifth by themselves."""
RATIO_ERROR = 0.05
"""Error of a known ratio, the median of its trials, from which a machine's timing is not to be trusted."""
_FEWEST = 3
"""Machines of a kind from which on one of them can be said to stand out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenMachine:
    """What a machine has shown of itself, in one environment of one run.

    Example:
        >>> machine = ProvenMachine(name="node1", hardware="EPYC", run_ids=frozenset({"r1"}), ratios={1: (1.21,)})
        >>> remarks([machine])
        {'r1': 'node1 found 1.21 for a known ratio of 1'}
    """

    name: str
    """Of the host."""
    hardware: str
    run_ids: frozenset[str]
    """The runs whose rows it timed."""
    limits: MachineLimits | None = None
    ratios: Mapping[int, Sequence[float]] = field(default_factory=dict)
    """What it found for ratios that are known, by these."""

    @property
    def kind(self) -> tuple[str, str, int]:
        """Machines of which this is the same are to be equally fast."""
        return self.hardware, self.limits.device if self.limits else "", self.limits.threads if self.limits else 0


def remarks(machines: Sequence[ProvenMachine]) -> dict[str, str]:
    """Return what is to be said of rows for the machine that timed them, by their run; nothing of most."""
    said: dict[str, list[str]] = {}
    outliers = _outliers(machines)
    for machine in machines:
        found = [*_wrong_ratios(machine), *outliers.get((machine.kind, machine.name), ())]
        for run_id in sorted(machine.run_ids):
            said.setdefault(run_id, []).extend(found)
    return {run_id: "; ".join(dict.fromkeys(lines)) for run_id, lines in said.items() if lines}


def _wrong_ratios(machine: ProvenMachine) -> list[str]:
    middles = {truth: median(found) for truth, found in machine.ratios.items() if found}
    return [
        f"{machine.name} found {middle:.2f} for a known ratio of {truth}"
        for truth, middle in middles.items()
        if abs(middle / truth - 1) > RATIO_ERROR
    ]


def _outliers(machines: Sequence[ProvenMachine]) -> dict[tuple[tuple[str, str, int], str], list[str]]:
    """Return what is said of machines that stand out, by their kind and name."""
    best: dict[tuple[str, str, int], dict[str, dict[str, float]]] = {}
    for machine in machines:
        for rate, value in _rates(machine.limits).items():
            of_kind = best.setdefault(machine.kind, {}).setdefault(rate, {})
            of_kind[machine.name] = max(value, of_kind.get(machine.name, 0.0))
    found: dict[tuple[tuple[str, str, int], str], list[str]] = {}
    for kind, rates in best.items():
        for rate, values in rates.items():
            for name, words in _apart(rate, values).items():
                found.setdefault((kind, name), []).append(words)
    return found


def _rates(limits: MachineLimits | None) -> dict[str, float]:
    if limits is None:
        return {}
    products = {f"{dtype} products": rate for dtype, rate in limits.macs_per_s.items()}
    return {name: rate for name, rate in {**products, "memory bandwidth": limits.bytes_per_s}.items() if rate > 0}


def _apart(rate: str, values: Mapping[str, float]) -> dict[str, str]:
    """Return what is said of the machines that are apart in one rate, by their names."""
    if len(values) < _FEWEST:
        if len(values) < _FEWEST - 1 or max(values.values()) < APART * min(values.values()):
            return {}
        slow, fast = sorted(values, key=lambda name: values[name])
        said = f"{slow} reaches {values[slow] / values[fast]:.0%} of the {rate} of {fast}, the only other of its kind"
        return dict.fromkeys((slow, fast), said)
    middle = median(values.values())
    return {
        name: f"{name} reaches {value / middle:.0%} of the {rate} that is usual of {len(values)} machines of its kind"
        for name, value in values.items()
        if not middle / APART < value < middle * APART
    }
