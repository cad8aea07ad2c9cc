"""What the machine of a worker can do, held against what a group needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attnbench.devices import gpus, machine, names
from attnbench.fleet.kinds import HardwareKind
from attnbench.fleet.planned import PlannedGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineMeans:
    """What a machine can do."""

    devices: tuple[str, ...]
    hardware: tuple[str, ...]
    """Full names of its processor and of its accelerators."""
    cores: int
    memory_bytes: int
    kind: str = ""
    """Of hardware, as it was told; empty to go by the names."""

    @classmethod
    def here(cls, devices: tuple[str, ...], *, kind: str = "") -> MachineMeans:
        """Return what this machine can do."""
        return cls(
            devices=devices,
            hardware=(machine.cpu().model, *gpus.names()),
            cores=machine.whole_cores(),
            memory_bytes=machine.memory_bytes(),
            kind=kind,
        )

    def suffice(self, group: PlannedGroup, kinds: Mapping[str, HardwareKind]) -> bool:
        """Return whether a group can be measured on it."""
        needs = group.needs
        if needs.device not in self.devices or needs.threads > self.cores:
            return False
        if names.kind(needs.device) == names.HOST and needs.memory_bytes > self.memory_bytes:
            return False
        if not needs.kind:
            return True
        if self.kind:
            return self.kind == needs.kind
        return needs.kind in kinds and kinds[needs.kind].is_here(self.hardware)
