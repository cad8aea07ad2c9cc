"""What can be run again on this machine: mechanisms and networks that are installed as they were, devices, cores.

A record is a stranger's word: no file that one names is imported because of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version

from attnbench.devices import machine, names
from attnbench.models import networks
from attnbench.plan import preflight
from attnbench.plugins.registry import Registry, discover, origin
from attnbench.record import Cell


@dataclass(frozen=True, kw_only=True)
class ThisMachine:
    """Where a run is looked at."""

    registry: Registry = field(default_factory=discover)

    @cached_property
    def devices(self) -> Sequence[str]:
        """The devices that torch sees, which a child process is asked for."""
        return preflight.take(()).devices

    def why_not_built(self, cell: Cell) -> str:
        """Return why a cell's module cannot be built again as it was; empty if it can be."""
        installed = _network(cell.network) if cell.network else self._mechanism(cell.mechanism)
        if not installed:
            return f"{cell.name} is not installed here"
        if installed != cell.distribution:
            return f"{cell.name} is of {installed} here, and not of {cell.distribution}"
        return ""

    def why_not_timed(self, cell: Cell) -> str:
        """Return why a cell cannot be measured again; empty if it can be."""
        cores = machine.whole_cores()
        if cell.threads > cores:
            return f"{cell.threads} threads and {cores} cores here"
        if cell.device != names.HOST and cell.device not in self.devices:
            return f"there is no {cell.device} here"
        return self.why_not_built(cell)

    def _mechanism(self, name: str) -> str:
        plugin = self.registry.plugins.get(name)
        return plugin.distribution if plugin else ""


def _network(name: str) -> str:
    entry = networks.plugins().get(name)
    if entry is not None:
        return origin(entry)
    try:
        return f"timm {version('timm')}" if name.isidentifier() else ""
    except PackageNotFoundError:
        return ""
