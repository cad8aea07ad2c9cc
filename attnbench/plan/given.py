"""From what is given on the command line and in a sweep file to a request and settings."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from attnbench import files
from attnbench.axes import AXES, Scope, texts
from attnbench.devices.machine import whole_cores
from attnbench.errors import UsageError, did_you_mean
from attnbench.plan.request import LISTS, Request
from attnbench.plugins.registry import discover
from attnbench.ranges import Range, whole
from attnbench.reading import MisreadError, given_as, structured
from attnbench.runs.job import FORK, SPAWN, Settings

_SETTING_NAMES = {
    "precision": "precision",
    "max_time": "max_time_s",
    "timeout": "timeout_s",
    "memory_limit": "memory_limit_bytes",
    "max_latency": "max_latency_s",
}
_RANGES = {
    "precision": Range(lowest=0, highest=10, above=True),
    "max_time": Range(lowest=0, highest=1e6, unit="seconds", above=True),
    "timeout": Range(lowest=0, highest=1e6, unit="seconds", above=True),  # what clocks and threads can wait for
    "memory_limit": Range(lowest=1, highest=2**60, unit="bytes"),
    "max_latency": Range(lowest=0, highest=1e6, unit="seconds", above=True),
    "seeds": whole(1, 10_000),
    "epochs": whole(1, 1_000_000),
}
"""What is a number and no axis, with the range that it may lie in."""
_SWITCHES = ("energy",)
"""Settings that are on or off."""
_CHOICES = {"isolation": (FORK, SPAWN)}
"""Settings that are one of some words."""
_OF_ACCURACY = ("seeds", "epochs", "checkpoint", "class_order", "recipe")
_SETTINGS = (*_SETTING_NAMES, *_SWITCHES, *_CHOICES)


def read_request(
    path: Path | None, given: Mapping[str, Any], *, threads: int, usual: tuple[str, Mapping[str, Any]] = ("", {})
) -> tuple[Request, Settings]:
    """Return what is asked for, from a TOML file and from options; options go first.

    Args:
        path: the sweep file.
        given: options by their names.
        threads: where none are asked for.
        usual: where the project says what is usual in it, and that: it goes last, as far as it means something.

    Raises:
        UsageError: a file cannot be read, or names something that is no option.
    """
    wanted = _named(str(path), _content(path)) if path else {}
    wanted |= {name: value for name, value in given.items() if value is not None}
    place, usually = usual
    wanted = _usual(_named(place, usually), wanted) | wanted
    wanted |= {name: texts(wanted[name]) for name in (*AXES, *LISTS) if name in wanted}
    if wanted.get("networks"):
        wanted.setdefault("scope", ("backbone", "network") if wanted.get("mechanisms") else ("network",))
    if set(wanted.get("scope", ())) != {"network"}:
        wanted.setdefault("mechanisms", tuple(discover().plugins))
    wanted.setdefault("threads", (str(threads),))
    _refuse_other_types(wanted)
    _refuse_out_of_range(wanted)
    _refuse_idle(wanted)
    _warn_of_threads(wanted["threads"])
    asked = {name: value for name, value in wanted.items() if name not in _SETTINGS}
    return Request.of(**asked), settings_of(wanted)


def default_threads() -> int:
    """Return the threads of a run that asks for none: ``OMP_NUM_THREADS``, else all cores that may be used but one.

    The system has always something to run. Where threads wait for each other, what takes a turn on one core costs all
    of them that turn; docs/figures.md has what the self-check makes of either number.
    """
    # As OpenMP reads it: one number for each level of nesting, of which the first is meant.
    wished = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    try:
        return int(AXES["threads"].read(wished))
    except ValueError:
        return max(1, whole_cores() - 1)


def known_names() -> tuple[str, ...]:
    """Return the names that a sweep file and ``attnbench.run`` take."""
    return (*Request.names(), *_SETTINGS)


def _warn_of_threads(written: Sequence[str]) -> None:
    """Warn of more threads than cores; what is no number is refused where the axes are read."""
    cores = whole_cores()
    for threads in (text for text in written if text.isdecimal() and len(text) < 9 and int(text) > cores):
        warnings.warn(
            f"--threads {threads}: this process may use {cores} cores; threads that share one wait for each other",
            stacklevel=3,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plain:
    """What is no list: the types that a sweep file may give."""

    seeds: int = 1
    epochs: int = 1
    precision: float = 1.0
    max_time: float = 1.0
    timeout: float = 1.0
    memory_limit: float = 1.0
    max_latency: float = 1.0
    energy: bool = False
    isolation: str = ""
    until: str = ""
    baseline: str = ""
    accuracy: str = ""
    class_order: str = ""
    recipe: str = ""


def _refuse_other_types(wanted: Mapping[str, Any]) -> None:
    """Refuse what a sweep file has in place of numbers and names; the command line has seen to its own."""
    plain = {each.name for each in fields(_Plain)}
    try:
        structured({name: value for name, value in wanted.items() if name in plain}, _Plain)
    except MisreadError as error:
        raise UsageError(*error.mistakes) from None


def _refuse_out_of_range(given: Mapping[str, Any]) -> None:
    mistakes = [
        f"--{name.replace('_', '-')} {given_as(given[name])}: expected {within.words}"
        for name, within in _RANGES.items()
        if given.get(name) is not None and not within.holds(given[name])
    ]
    if mistakes:
        raise UsageError(*mistakes)


def _usual(usual: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a project's usual values is not given and means something beside what is."""
    subjects = {"mechanisms", "networks"}
    left = {name: value for name, value in usual.items() if not (name in subjects and subjects & set(wanted))}
    both = {**left, **wanted}
    lists = {name: texts(both[name]) for name in (*AXES, *LISTS) if name in both}
    idle = {name for name, _ in _idle({**both, **lists})}
    return {name: value for name, value in left.items() if name not in idle}


def _refuse_idle(wanted: Mapping[str, Any]) -> None:
    """Refuse options that would change nothing: whoever gives one believes that it does."""
    idle = (each for each in _idle(wanted) if each[0] in wanted)
    mistakes = [f"--{name.replace('_', '-')} does nothing without {needed}" for name, needed in idle]
    if mistakes:
        raise UsageError(*mistakes)


def _idle(wanted: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the names that would change nothing beside what is wanted, and what they need."""
    layers = Scope.LAYER in wanted.get("scope", ())
    of_layers = [name for name, axis in AXES.items() if axis.scope is Scope.LAYER]
    idle = [] if layers else [(name, f"--scope {Scope.LAYER}") for name in of_layers]
    idle += [] if wanted.get("accuracy") else [(name, "--accuracy") for name in _OF_ACCURACY]
    idle += [] if wanted.get("networks") else [(name, "--networks") for name in ("class_order", "pad")]
    idle += [] if wanted.get("until", "latency") == "latency" or not wanted.get("energy") else [("energy", "timing")]
    of_timing = [*(name for name, axis in AXES.items() if axis.timed), "max_latency"]
    idle += [] if wanted.get("until", "latency") == "latency" else [(name, "timing") for name in of_timing]
    idle += [] if set(wanted.get("scope", ())) != {"network"} else [("mechanisms", "--scope backbone or layer")]
    return idle


def settings_of(given: Mapping[str, Any]) -> Settings:
    """Return how to measure, from options by the names of the command line.

    Raises:
        UsageError: a number that cannot be.
    """
    _refuse_out_of_range(given)
    fields_of = _SETTING_NAMES | {name: name for name in (*_SWITCHES, *_CHOICES)}
    return _checked(
        Settings(**{field: given[name] for name, field in fields_of.items() if given.get(name) is not None})
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        return files.toml_of(path)
    except MisreadError as error:
        raise UsageError(*error.mistakes) from None


def _named(place: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file holds by the names of options."""
    names = known_names()
    read = {name.replace("-", "_"): value for name, value in content.items()}
    unknown = [name for name in read if name not in names]
    if unknown:
        raise UsageError(*(f"{place}: unknown name {name!r}; {did_you_mean(name, names)}" for name in unknown))
    return read


def _checked(settings: Settings) -> Settings:
    mistakes = [
        f"--{name} {getattr(settings, name)}: {did_you_mean(getattr(settings, name), words)}"
        for name, words in _CHOICES.items()
        if getattr(settings, name) not in words
    ]
    if mistakes:
        raise UsageError(*mistakes)
    return settings
