"""What everything in a process shares besides functions, an aspect a row: how it is read, put back and said.

Functions are taken by name when this is imported: a plugin may put others in their places in ``os`` or ``signal``.
"""

from __future__ import annotations

import gc
import os
import random
import resource
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import chdir, environ, getcwd, getpriority, setpriority, umask
from typing import Any, Final, cast

import numpy as np

_GONE: Final = "one that is gone"
_OF_TORCH = ("TORCHINDUCTOR_", "TRITON_", "KINETO_")
"""Variables that torch sets in its own process when it compiles or profiles."""
_get_limit, _set_limit = resource.getrlimit, resource.setrlimit
_get_handler, _set_handler = signal.getsignal, signal.signal
_get_timer, _set_timer = signal.getitimer, signal.setitimer
_collects, _collect, _collect_not = gc.isenabled, gc.enable, gc.disable
_get_threshold, _set_threshold = gc.get_threshold, gc.set_threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Aspect:
    """One thing that a process has one of."""

    read: Callable[[], Any]
    write: Callable[[Any], object]
    said: Callable[[Any, Any], str]
    """What was changed between two readings, in words; empty for what costs nobody anything and is undone silently."""
    kept: bool = False
    """Whether calls of the plugin that changed it find it as it was changed. The others' find it as it was."""


def one(what: str) -> Callable[[Any, Any], str]:
    """Return what says a change of a single value: ``file mode mask from 18 to 0``."""
    return lambda was, now: f"{what} from {was} to {now}"


def some(what: str) -> Callable[[Any, Any], str]:
    """Return what says which entries of a mapping differ: ``environment variables HOME, PATH``."""
    return lambda was, now: f"{what} {listed(differing(was, now))}"


def _variables_changed(was: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say which variables have another value; libraries add some as they are imported."""
    changed = [name for name, value in was.items() if now.get(name) != value]
    return f"environment variables {listed(changed)}" if changed else ""


def _path_changed(was: list[str], now: list[str]) -> str:
    """Say that what is imported is searched elsewhere first; what is added may only be what a plugin is made of."""
    kept = [folder for folder in now if folder in was]
    return "" if kept == was else "sys.path"


def differing(was: Mapping[Any, Any], now: Mapping[Any, Any]) -> list[str]:
    """Return the keys of what two mappings do not have alike."""
    return [str(key) for key in {**was, **now} if was.get(key, _GONE) != now.get(key, _GONE)]


def listed(names: list[str], most: int = 5) -> str:
    """Return names in a line, the first of many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} others" if len(names) > most else "")


def _silent(*_: object) -> str:
    return ""


def _folder() -> str:
    try:
        return getcwd()  # noqa: PTH109 - ``Path`` would ask ``os`` again
    except OSError:
        return _GONE


def _variables() -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith(_OF_TORCH)}


def _set_variables(was: Mapping[str, str]) -> None:
    for name in _variables().keys() - was.keys():
        del environ[name]
    environ.update(was)


def _mask() -> int:
    mask = umask(0o022)
    umask(mask)
    return mask


_LIMITS: Final = {name: getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}


def _limits() -> dict[str, tuple[int, int]]:
    return {name: _get_limit(number) for name, number in _LIMITS.items()}


def _set_limits(was: Mapping[str, tuple[int, int]]) -> None:
    for name, limit in was.items():
        if _get_limit(_LIMITS[name]) != limit:
            _set_limit(_LIMITS[name], limit)


_SIGNALS: Final = {signal.Signals(each).name if each in set(signal.Signals) else str(each): each
                   for each in signal.valid_signals()}  # fmt: skip


def _handlers() -> dict[str, Any]:
    return {name: _get_handler(number) for name, number in _SIGNALS.items()}


def _set_handlers(was: Mapping[str, Any]) -> None:
    for name, handler in was.items():
        if _get_handler(_SIGNALS[name]) is not handler and handler is not None:
            _set_handler(_SIGNALS[name], handler)


_TIMERS: Final = {"real": signal.ITIMER_REAL, "virtual": signal.ITIMER_VIRTUAL, "profiling": signal.ITIMER_PROF}


def _timers() -> dict[str, bool]:
    return {name: _get_timer(number) != (0.0, 0.0) for name, number in _TIMERS.items()}


def _stop_timers(was: Mapping[str, bool]) -> None:
    for name, ran in was.items():
        if not ran:
            _set_timer(_TIMERS[name], 0)


def _collector() -> dict[str, Any]:
    return {"on": _collects(), "threshold": _get_threshold(), "callbacks": tuple(gc.callbacks)}


def _set_collector(was: Mapping[str, Any]) -> None:
    (_collect if was["on"] else _collect_not)()
    _set_threshold(*was["threshold"])
    gc.callbacks[:] = was["callbacks"]


def _replaced(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name, module in was.items() if now.get(name) is not module]
    return f"entries of sys.modules: {listed(names)}" if names else ""


def _numbers() -> tuple[Any, ...]:
    name, keys, *rest = cast("tuple[Any, ...]", _get_numbers())
    return (name, keys.tobytes(), *rest)


def _set_numbers(was: tuple[Any, ...]) -> None:
    name, keys, *rest = was
    _put_numbers((name, np.frombuffer(keys, np.uint32), *rest))


_get_numbers, _put_numbers = np.random.get_state, np.random.set_state
_get_cores: Callable[[int], set[int]] = getattr(os, "sched_getaffinity", lambda _: set())
_set_cores = getattr(os, "sched_setaffinity", lambda *_: None)
_trace, _set_trace, _profile, _set_profile = sys.gettrace, sys.settrace, sys.getprofile, sys.setprofile


ASPECTS: Final[Mapping[str, Aspect]] = {
    "modules": Aspect(read=lambda: dict(sys.modules), write=sys.modules.update, said=_replaced),
    "folder": Aspect(read=_folder, write=chdir, said=one("working folder")),
    "variables": Aspect(read=_variables, write=_set_variables, said=_variables_changed, kept=True),
    "path": Aspect(
        read=lambda: list(sys.path),
        write=lambda was: sys.path.__setitem__(slice(None), was),
        said=_path_changed,
        kept=True,
    ),
    "mask": Aspect(read=_mask, write=umask, said=one("file mode mask")),
    "limits": Aspect(read=_limits, write=_set_limits, said=some("limits of the process:")),
    "handlers": Aspect(read=_handlers, write=_set_handlers, said=some("handlers of signals:")),
    "timers": Aspect(read=_timers, write=_stop_timers, said=some("timers that send signals:")),
    "cores": Aspect(
        read=lambda: _get_cores(0), write=lambda was: _set_cores(0, was), said=one("cores that it may use")
    ),
    "niceness": Aspect(read=lambda: getpriority(0, 0), write=lambda was: setpriority(0, 0, was), said=one("niceness")),
    "collector": Aspect(read=_collector, write=_set_collector, said=some("garbage collection:")),
    "trace": Aspect(read=_trace, write=_set_trace, said=one("trace function")),
    "profile": Aspect(read=_profile, write=_set_profile, said=one("profile function")),
    "switching": Aspect(
        read=sys.getswitchinterval, write=sys.setswitchinterval, said=one("interval at which threads take turns")
    ),
    "recursion": Aspect(read=sys.getrecursionlimit, write=sys.setrecursionlimit, said=_silent),
    "printing": Aspect(
        read=lambda: (sys.stdout, sys.stderr),
        write=lambda was: vars(sys).update(stdout=was[0], stderr=was[1]),
        said=_silent,
    ),
    "warnings": Aspect(
        read=lambda: list(warnings.filters),
        write=lambda was: cast("list[Any]", warnings.filters).__setitem__(slice(None), was),
        said=_silent,
    ),
    "random": Aspect(read=random.getstate, write=random.setstate, said=_silent),
    "numpy's random": Aspect(read=_numbers, write=_set_numbers, said=_silent),
    "numpy's errors": Aspect(read=np.geterr, write=lambda was: np.seterr(**was), said=some("numpy's errors:")),
}
