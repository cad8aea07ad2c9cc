"""Kinds of values on the command line that click does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

import click
from click.shell_completion import CompletionItem

from attnbench.advice.quantities import quantity
from attnbench.axes import AXES, OneOf


class CommaList(click.ParamType[tuple[str, ...]]):
    """Values between commas, blanks around them dropped; at least one."""

    name = "a,b,..."

    def __init__(self, names: Callable[[], Iterable[str]] = tuple) -> None:
        """Begin.

        Args:
            names: what a shell offers for each value.
        """
        self._names = names

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - the signature is click's
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return what the last of the values may become, the ones before it left as they are."""
        _, _, last = incomplete.rpartition(",")
        before = incomplete.removesuffix(last)
        return [CompletionItem(before + name) for name in self._names() if name.startswith(last)]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:  # noqa: ANN401
        """Return the values as a tuple."""
        if isinstance(value, tuple):
            return value
        values = tuple(part.strip() for part in str(value).split(",") if part.strip())
        if not values:
            self.fail("it is empty; give at least one value, or leave the option out", param, ctx)
        return values


class Size(click.ParamType[int]):
    """A size such as 500MB or 4GiB."""

    name = "size"
    _UNITS: ClassVar = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Return the size in bytes."""
        if isinstance(value, int):
            return value
        text = str(value).strip().lower()
        number = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
        unit = text[len(number) :].strip()
        try:
            return self._positive(int(float(number) * self._UNITS[unit]))
        except (ValueError, KeyError, OverflowError):
            self.fail(f"{value!r} is not a size; write 500MB or 4GiB", param, ctx)

    @staticmethod
    def _positive(size: int) -> int:
        if size <= 0:
            raise ValueError(size)
        return size


class Latency(click.ParamType[float]):
    """A time such as 20ms or 1.5s."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Return the time in seconds."""
        if isinstance(value, int | float):
            return float(value)
        try:
            return quantity(str(value), "latency_median_s")
        except (ValueError, OverflowError) as error:
            self.fail(str(error), param, ctx)


class Seconds(click.ParamType[float]):
    """Seconds to wait, of an option that may stand without a value."""

    name = "seconds"
    _MOST = 7 * 86_400

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Return the seconds."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= self._MOST:
            said = f"{value!r} is not 0 to {self._MOST} seconds; write --require-idle=600, or put the option last"
            self.fail(said, param, ctx)
        return seconds


SECONDS = Seconds()
SIZE = Size()
LATENCY = Latency()


def mechanism_names() -> list[str]:
    """Return the names of the mechanisms that are installed; none of them is loaded."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - for completion alone

    return sorted({entry.name for entry in entry_points(group="attnbench.mechanisms")})


def _together(_: click.Context, __: click.Parameter, given: tuple[tuple[str, ...], ...]) -> tuple[str, ...] | None:
    return tuple(value for values in given for value in values) or None


def commas_option(
    name: str,
    *,
    names: Callable[[], Iterable[str]] = tuple,
    **more: Any,  # noqa: ANN401 - what click.option takes
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what gives a command an option that is a list; given several times, it is all of them in one.

    Args:
        name: of the option.
        names: what a shell offers for each value.
        more: what click takes.
    """
    return click.option(name, type=CommaList(names), multiple=True, callback=_together, **more)


def axis_options(prefix: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what gives a command an option for every axis, its help after a prefix."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for axis in reversed([*AXES.values()]):
            names = partial(tuple, axis.read.choices) if isinstance(axis.read, OneOf) else tuple
            command = commas_option(f"--{axis.option}", names=names, help=f"{prefix}{axis.help}")(command)
        return command

    return decorate
