"""The energy counters of processors, as Linux shows them below ``/sys/class/powercap``. Imports no torch.

Counted are the packages and, where it has a counter, their memory. Cores and graphics are parts of a package, and
``psys`` is the whole platform with the packages in it: added, they would count twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from attnbench.devices.energy import NoCounterError
from attnbench.devices.machine import ROOT

_FOLDER = "sys/class/powercap"
_BESIDE_THE_PACKAGE = "dram"
_MICRO = 1e-6


@dataclass(slots=True, kw_only=True, eq=False)
class Zone:
    """One counter: it counts microjoules up to its range and begins again from 0."""

    folder: Path
    name: str
    range_uj: int
    last_uj: int
    total_uj: int = 0

    def advance(self) -> None:
        """Add what was counted since the last time. More than one turn in between cannot be seen."""
        now = _number(self.folder / "energy_uj")
        turned = now < self.last_uj
        self.total_uj += now - self.last_uj + (self.range_uj if turned else 0)
        self.last_uj = now


class Rapl:
    """The energy of all packages and their memory together.

    Args:
        root: Root of the file system to read from.

    Raises:
        NoCounterError: there is none, or it is not to be read by this user.
    """

    def __init__(self, root: Path = ROOT) -> None:
        packages = _named(root / _FOLDER, "intel-rapl:[0-9]*", "package-*")
        if not packages:
            raise NoCounterError(f"no package of RAPL below {root / _FOLDER}")
        memory = [zone for package in packages for zone in _named(package, "intel-rapl:*:*", _BESIDE_THE_PACKAGE)]
        self._zones = [_opened(folder) for folder in (*packages, *memory)]
        names = dict.fromkeys(zone.name for zone in self._zones)
        self.name = f"RAPL {' + '.join(names)}"

    def read_j(self) -> float:
        """Return the energy since this counter was made, in joules."""
        for zone in self._zones:
            zone.advance()
        return sum(zone.total_uj for zone in self._zones) * _MICRO


def _named(folder: Path, pattern: str, name: str) -> list[Path]:
    return [each for each in sorted(folder.glob(pattern)) if Path(_text(each / "name")).match(name)]


def _opened(folder: Path) -> Zone:
    return Zone(
        folder=folder,
        name=_text(folder / "name"),
        range_uj=_number(folder / "max_energy_range_uj"),
        last_uj=_number(folder / "energy_uj"),
    )


def _number(path: Path) -> int:
    """Return the number that a file holds.

    Raises:
        NoCounterError: it cannot be read, as by others than root on most machines, or holds none.
    """
    try:
        return int(path.read_text())
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else "not a number"
        raise NoCounterError(f"{path}: {said}; let this user read it, such as with chmod a+r") from None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
