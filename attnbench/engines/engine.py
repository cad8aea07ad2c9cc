"""The contract of an engine: what the harness asks of whatever starts workers on the machines of a site.

An engine knows nothing of cells. It keeps no account of its own either: how many workers wait and run is asked of
whoever runs them, so that the command that started them can be killed and started again.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from attnbench.devices import names


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOrder:
    """The workers of one kind of hardware: what each needs, and how it is started.

    Example:
        >>> order = WorkerOrder(folder=Path("/shared/run"), kind="h100", called="H100", told=True,
        ...                     device="cuda:0", threads=8, seconds=600.0,
        ...                     longest_s=60.0, options=None)
        >>> order.arguments
        ('work', '/shared/run', '--kind', 'h100')
    """

    folder: Path
    """Of the run, absolute."""
    kind: str
    """Of hardware; empty for whichever machine comes first."""
    called: str
    """A part of what hardware of that kind calls itself, where the profile says it, or else the kind's own name."""
    told: bool
    """Whether workers take it on the engine's word that they are on that kind, instead of by what hardware says."""
    device: str
    """By its full name, such as ``cuda:0``."""
    threads: int
    """CPU threads: as many cores are needed."""
    seconds: float
    """That a worker may take, with time to spare."""
    longest_s: float
    """That the longest group is expected to take."""
    options: Any
    """What the profile of the site says of the kind, as the engine's ``Options``."""
    words: tuple[str, ...] = ()
    """What ``attnbench work`` is given besides."""
    described: bool = False
    """Whether the profile says how the engine is to ask for that kind; else what has the kind's name is asked for."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """What ``attnbench`` is given on the machine."""
        told = ("--kind", self.kind) if self.told and self.kind else ()
        return ("work", str(self.folder), *told, *self.words)

    @property
    def name(self) -> str:
        """What its workers are called where jobs have names: the same for the same folder and kind."""
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:8]
        return "-".join(filter(None, ("attnbench", digest, self.kind)))

    @property
    def on_accelerator(self) -> bool:
        """Whether what is measured runs on anything but the CPU."""
        return names.kind(self.device) != names.HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerCount:
    """How many workers of an order there are by now.

    Example:
        >>> WorkerCount(running=2, waiting=1, why="Priority").all
        3
    """

    running: int = 0
    waiting: int = 0
    why: str = ""
    """Why they wait, in the engine's words; empty where it does not say."""

    @property
    def all(self) -> int:
        """Running or waiting."""
        return self.running + self.waiting


class Engine(ABC):
    """One way to start workers, by its name.

    Example:
        >>> from attnbench import engines
        >>> engines.of("local").why_missing()
        ''
    """

    name: ClassVar[str]
    extra: ClassVar[str] = ""
    """What to install, as ``pip install`` takes it."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Modules that must be importable."""
    Options: ClassVar[type]
    """A frozen dataclass, all of whose fields have defaults: what a profile may say in the table of the engine, and in
    that of a kind of hardware, which goes first."""
    poll_s: ClassVar[float] = 2.0
    """Seconds between two questions about its workers."""
    chooses: ClassVar[bool] = True
    """Whether it starts a worker on a machine of the kind that is asked for, instead of on the one there is."""

    def __init__(self, folder: Path, options: Any) -> None:  # noqa: ANN401
        """Take note of where it is to work; nothing is connected to, and nothing written.

        Args:
            folder: of the run, absolute, which all machines see.
            options: of the whole site, as ``Options``.
        """
        self.folder, self.options = folder, options

    @classmethod
    def why_missing(cls) -> str:
        """Return which modules are not installed and what installs them, empty if all are. Imports none of them."""
        missing = [name for name in cls.needs if find_spec(name) is None]
        return f"{', '.join(missing)} not installed: pip install '{cls.extra}'" if missing else ""

    @property
    def logs(self) -> Path:
        """Where what workers print is kept."""
        return self.folder / "engines" / self.name

    def open(self) -> None:  # noqa: B027 - not every one has to
        """Connect to whoever starts workers.

        Raises:
            EngineError: it is not there.
        """

    def close(self) -> None:  # noqa: B027
        """Let go of whoever starts workers. It may be called more than once."""

    @abstractmethod
    def count(self, order: WorkerOrder) -> WorkerCount:
        """Return how many workers of an order there are, those of an earlier command included.

        Raises:
            EngineError: that cannot be found out now; it is asked again.
        """

    @abstractmethod
    def start(self, order: WorkerOrder, workers: int) -> str:
        """Start workers, or have them start once there is room, and return that in words; empty if none was.

        Raises:
            NoMachineError: there is no machine of that kind.
            EngineError: it does not take them.
        """

    @abstractmethod
    def shown(self, order: WorkerOrder, workers: int) -> str:
        """Return what ``start`` would submit, as text. Nothing is connected to."""

    def withdraw(self, order: WorkerOrder) -> bool:  # noqa: ARG002
        """Give up the workers of an order that wait, since nothing is left for them; return whether that can be done.

        Raises:
            EngineError: that cannot be done now; it is asked again.
        """
        return False

    @property
    def farewell(self) -> str:
        """What becomes of the workers when the command ends before they do."""
        return "its workers end with this command; the same command starts them again"
