"""What a sweep is asked for, as written: the names of the axes on the command line and in a TOML file."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from attnbench.plan.preflight import Wanted

CLASSIFICATION = "classification"
USUAL = "224"
"""Image size of classification where none is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The axes of a sweep as written: each a tuple of what stood between the commas.

    Mechanisms are measured in the layer and backbone scopes, networks in the network scope.
    """

    mechanisms: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    res: tuple[str, ...] = ()
    """Empty for what is usual: 224, or what papers state for a dense task."""
    task: tuple[str, ...] = (CLASSIFICATION,)
    """What networks are asked to do."""
    batch: tuple[str, ...] = ("1",)
    dtype: tuple[str, ...] = ("float32",)
    device: tuple[str, ...] = ("auto",)
    mode: tuple[str, ...] = ("infer",)
    compile: tuple[str, ...] = ("off",)
    scope: tuple[str, ...] = ("backbone",)
    backend: tuple[str, ...] = ()
    until: str = "latency"
    """The last thing that is found out of each cell: counts, memory or latency."""
    stage: tuple[str, ...] = ("3",)
    dim: int | None = None
    heads: int | None = None
    depth: int = 4
    threads: int = 1
    baseline: str = "mhsa"
    accuracy: str = ""
    seeds: int = 3
    epochs: int = 0
    checkpoint: tuple[str, ...] = ()
    """``NETWORK=FILE`` each: the weights that a network is evaluated with, whichever options it has."""

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """The mechanisms to look at, the baseline first if it was not asked for."""
        backends = self.backend or ("",)
        asked = [Wanted(spec=spec, backend=backend) for spec in self.mechanisms for backend in backends]
        asked += [
            Wanted(spec=spec, backend=each, network=True, checkpoint=self.checkpoints.get(spec.partition(":")[0], ""))
            for spec in self.networks
            for each in backends
        ]
        extra = [Wanted(spec=self.baseline)] if self._baseline_is_extra else []
        return tuple(dict.fromkeys([*extra, *asked]))

    @property
    def checkpoints(self) -> dict[str, str]:
        """The files of weights by the network's name."""
        return {name: file for name, _, file in (entry.partition("=") for entry in self.checkpoint)}

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the images, those left out that are none."""
        found = []
        for text in self.res or (USUAL,):
            with suppress(ValueError):
                found.append(parse_resolution(text))
        return tuple(found)

    @property
    def _baseline_is_extra(self) -> bool:
        return bool(self.mechanisms) and self.baseline not in ("none", *self.mechanisms, *self.networks)


def parse_resolution(text: str) -> tuple[int, int]:
    """Read ``224`` or ``224x448`` (height x width, pixels).

    Raises:
        ValueError: it is neither, or a side is 0.
    """
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match or int(match[1]) == 0 or (match[2] is not None and int(match[2]) == 0):
        raise ValueError("expected pixels as 224, or height x width as 224x448, each at least 1")
    return int(match[1]), int(match[2] or match[1])
