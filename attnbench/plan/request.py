"""What a sweep is asked for, as written: the names of the axes on the command line and in a TOML file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from attnbench.accuracy.dense import table as annotated
from attnbench.axes import AXES, CLASSIFICATION, resolution, texts
from attnbench.plan.preflight import Wanted
from attnbench.plugins.options import aliased

USUAL = "224"
"""Image size of classification where none is asked for."""
_SINGLE_ONCE = ("dim", "heads", "depth", "threads")
"""Axes that took one number when folders were first named."""
_NAMED_ALWAYS = (*("res", "task", "batch", "dtype", "device", "mode", "compile", "scope", "stage"), *_SINGLE_ONCE)
"""Axes that the name of a folder depends on whatever they are; others that were added later, where they are given."""

_LATER = ("class_order", "recipe")
"""Other names that were added later, on which it depends where they are given."""

LISTS = ("mechanisms", "networks", "backend", "checkpoint")
"""What is a list besides the axes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A sweep as written: for each axis a tuple of what stood between the commas.

    Mechanisms are measured in the layer and backbone scopes, networks in the network scope.
    """

    mechanisms: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By option, those that something was asked of; see ``attnbench.axes``."""
    backend: tuple[str, ...] = ()
    until: str = "latency"
    """The last thing that is found out of each cell: counts, memory or latency."""
    baseline: str = "mhsa"
    accuracy: str = ""
    seeds: int = 3
    epochs: int = 0
    checkpoint: tuple[str, ...] = ()
    """``NETWORK=FILE`` each: the weights that a network is evaluated with, whichever options it has."""
    class_order: str = ""
    """How the classes of a folder are numbered where a checkpoint does not say: natural, text or a file."""
    recipe: str = ""
    """Name of the recipe that mechanisms and networks are trained by; empty for the proxy's own."""

    @classmethod
    def of(cls, **given: Any) -> Request:  # noqa: ANN401 - each field and each axis has its own kind
        """Return a request from names as the command line has them, axes and others together.

        Example:
            >>> Request.of(mechanisms=("qna",), res=("224", "512")).written("res")
            ('224', '512')
        """
        axes = {name: texts(values) for name, values in given.items() if name in AXES}
        others: dict[str, Any] = {
            name: texts(value) if name in LISTS else value for name, value in given.items() if name not in AXES
        }
        return cls(axes=axes, **others)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return what can be given to ``of``."""
        return (*AXES, *(each.name for each in fields(cls) if each.name != "axes"))

    def written(self, option: str) -> tuple[str, ...]:
        """Return the values of an axis as they were written, what is usual if none were; empty if that depends."""
        usual = AXES[option].usual
        return self.axes.get(option, (usual,) if usual else ())

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """The mechanisms to look at, the baseline first if it was not asked for."""
        backends = self.backend or ("",)
        asked = [
            Wanted(spec=spec, alias=alias, backend=backend)
            for alias, spec in map(aliased, self.mechanisms)
            for backend in backends
        ]
        asked += [
            Wanted(
                spec=spec,
                alias=alias,
                backend=each,
                network=True,
                checkpoint=self.checkpoints.get(spec.partition(":")[0], ""),
                class_order=self.class_order,
                trained=bool(self.recipe),
                head=self._evaluated_head,
            )
            for alias, spec in map(aliased, self.networks)
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
        for text in self.written("res") or (USUAL,):
            with suppress(ValueError):
                found.append(resolution(text))
        return tuple(found)

    @property
    def sizes_written(self) -> tuple[str, ...]:
        """The image sizes as written, or what stands for them where none were asked for."""
        tasks = self.written("task")
        return self.written("res") or ((USUAL,) if tasks == (CLASSIFICATION,) else tasks)

    @property
    def digest(self) -> str:
        """Hash of what was asked, the same each time and in every version: folders are named by it."""
        asked = {
            name: value for name, value in asdict(self).items() if name != "axes" and (value or name not in _LATER)
        }
        asked |= {name: list(self.written(name)) for name in AXES if name in _NAMED_ALWAYS or name in self.axes}
        for name in _SINGLE_ONCE:
            if len(values := asked[name]) < 2:
                asked[name] = int(values[0]) if values and values[0].isdecimal() and len(values[0]) < 20 else None
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    @property
    def _evaluated_head(self) -> str:
        """The head that networks are evaluated under; empty where they are evaluated as classifiers, or not."""
        asked = self.written("task")
        return next((head.value for head in annotated.heads(self.accuracy) if head in asked), "")

    @property
    def _baseline_is_extra(self) -> bool:
        named = [each for spec in (*self.mechanisms, *self.networks) for each in aliased(spec)]
        return bool(self.mechanisms) and self.baseline not in ("none", *named)
