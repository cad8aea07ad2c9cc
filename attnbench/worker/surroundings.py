"""What a plugin changes for everything in its process: found by comparison, undone, and kept for its own calls alone.

A process is taken down before a plugin is loaded and compared with it afterwards. What can be put back is put back;
calls of the plugin that made the change find it as the plugin made it, outside the timed part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from attnbench.worker import aspects, torch_aspects
from attnbench.worker.aspects import Aspect, listed
from attnbench.worker.leftovers import Leftovers, OthersTurns
from attnbench.worker.rebound import Bindings, Rebinding

P = ParamSpec("P")
T = TypeVar("T")

_ASPECTS: Final = {**aspects.ASPECTS, **torch_aspects.ASPECTS}


@dataclass(frozen=True, slots=True)
class World:
    """What a plugin changed, to be put on for its calls and taken off for those of others."""

    rebound: Sequence[Rebinding] = field(default=(), repr=False)
    aspects: Sequence[tuple[Aspect, Any, Any]] = field(default=(), repr=False)
    """Each with its readings before the change and after it."""

    def put_on(self) -> list[str]:
        """Let the process be as the plugin made it; return the names that had come to stand for something else."""
        others = [each.said for each in self.rebound if not each.redo()]
        for aspect, _, now in self.aspects:
            aspect.write(now)
        return others

    def take_off(self) -> list[str]:
        """Let the process be as it was before; return the names that had come to stand for something else."""
        others = [each.said for each in self.rebound if not each.undo()]
        for aspect, was, _ in self.aspects:
            aspect.write(was)
        return others

    def around(self, call: Callable[P, T]) -> Callable[P, T]:
        """Return what makes a call in this world; the call itself where nothing was changed."""
        if not (self.rebound or self.aspects):
            return call

        def called(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.worn():
                return call(*args, **kwargs)

        return called

    @contextmanager
    def worn(self) -> Iterator[None]:
        """Within, the process is as the plugin made it."""
        self.put_on()
        try:
            yield
        finally:
            self.take_off()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What was found to be changed, and is as it was again as far as that can be had."""

    undone: Sequence[str] = ()
    """What was changed and put back, in words."""
    left: Sequence[str] = ()
    """What is still not as it was."""
    world: World = World()

    @property
    def said(self) -> str:
        """All that was changed, empty for nothing."""
        return "; ".join((*self.undone, *self.left))


class Surroundings:
    """A process as it is when this is made: functions, settings, descriptors, threads.

    Takes some ten milliseconds, and a comparison a few. What is only added, such as modules that are imported, is no
    change. Random states are put back without a word, drawing from them being nobody's harm.
    """

    def __init__(self) -> None:
        self._at_first = Leftovers()
        self.renew()

    def renew(self) -> None:
        """Take the process as it is by now for what it should be."""
        self.admit()
        self._bindings = Bindings()
        self._before = {name: aspect.read() for name, aspect in _ASPECTS.items()}

    def admit(self) -> None:
        """Take what a plugin has left running, as little as it may, for what there is."""
        self._leftovers = Leftovers()

    def busy_cores(self) -> float:
        """Return how many cores are kept busy while nothing is called, by what was started since the beginning."""
        return self._at_first.busy_cores()

    def others_turns(self) -> OthersTurns:
        """Return what watches whatever was started since the beginning while cells of nobody else's are called."""
        return OthersTurns(self._at_first.spent_s)

    def settle(self) -> Settled:
        """Put back what is not as it was, and return what that is."""
        rebound = self._bindings.rebound()
        for each in rebound:  # first: all that follows is made of functions
            each.undo()
        undone = [f"rebinds {listed([each.said for each in rebound])}"] if rebound else []
        left: list[str] = []
        kept = []
        for name, aspect in _ASPECTS.items():
            was = self._before[name]
            try:
                now = aspect.read()
                if now == was:
                    continue
                said = aspect.said(was, now)
                is_back = _put_back(aspect, was)
            except Exception as error:  # what it reads with may be anything by now
                left.append(f"breaks {name}: {type(error).__name__}")
                continue
            if said:
                (undone if is_back else left).append(f"changes {said}")
            if aspect.kept and is_back:
                kept.append((aspect, was, now))
        left += self._leftovers.harmful()
        return Settled(undone=undone, left=left, world=World(rebound, kept))


def _put_back(aspect: Aspect, was: object) -> bool:
    """Return whether an aspect can be put back, or what is left of the change costs nobody anything."""
    try:
        aspect.write(was)
    except (OSError, ValueError):
        return False
    now = aspect.read()
    return bool(now == was) or not aspect.said(was, now)


class Wearable(Protocol):
    """What a process is while calls of one are made; a World, or what is more than one."""

    def put_on(self) -> list[str]:
        """As of a World."""

    def take_off(self) -> list[str]:
        """As of a World."""


class Turns:
    """Whose calls are running, and with it whose world the process is in."""

    def __init__(self, worlds: Sequence[Wearable]) -> None:
        self._worlds = worlds
        self._on: int | None = None
        self.rebound: list[str] = []
        """Names in a world that a call has let stand for something else; the comparison would not find them."""

    def to(self, index: int | None) -> None:
        """Let the process be what the calls of one are to find; None for as it was before any plugin."""
        if index == self._on:
            return
        if self._on is not None:
            self.rebound += self._worlds[self._on].take_off()
        if index is not None:
            self.rebound += self._worlds[index].put_on()
        self._on = index
