"""Trainings that are kept while they go on: interrupted, one goes on from its last epoch on disk, to the same weights.

A file for each training, put in place whole. What a step draws is seeded anew at each epoch, so that it does not matter
in which epoch a process began.
"""

from __future__ import annotations

import contextlib
import copy
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch

from attnbench import files

KEEP_EVERY_S = 20.0
"""Time between two epochs that are kept: a training that takes less is begun anew."""


@runtime_checkable
class Stateful(Protocol):
    """What has a state that can be kept: models, optimisers, scalers of gradients."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return its state, of tensors and plain values."""

    def load_state_dict(self, state_dict: Any, /) -> object:  # noqa: ANN401 - each of torch's has a type of its own
        """Set its state."""


Parts: TypeAlias = Mapping[str, Stateful]
"""All that changes while something is trained, by names."""


@dataclass(slots=True, kw_only=True)
class Keeper:
    """Keeps the trainings of a cell.

    Example:
        >>> Keeper().training("seed-0", asked="digits").take_up({})
        0
    """

    folder: Path | None = None
    """Where; None keeps nothing."""
    every_s: float = KEEP_EVERY_S
    remarks: list[str] = field(default_factory=list)
    """What a reader must know: what went on, and what could not be kept."""

    def training(self, name: str, *, asked: str) -> KeptTraining:
        """Return one of them.

        Args:
            name: of its file.
            asked: all that it hangs on, in a text: what is kept of another is not gone on from.
        """
        return KeptTraining(keeper=self, name=name, asked=asked)

    def forget(self) -> None:
        """Remove what is kept, once nobody will ask for it again."""
        if self.folder is not None:
            with contextlib.suppress(OSError):
                for path in self.folder.glob("*.training"):
                    path.unlink()
                self.folder.rmdir()

    def remark(self, said: str) -> None:
        """Note what a reader must know, once."""
        if said not in self.remarks:
            self.remarks.append(said)


@dataclass(slots=True, kw_only=True)
class KeptTraining:
    """One training, kept in a file."""

    keeper: Keeper
    name: str
    asked: str
    _kept_at: float = field(default_factory=time.monotonic)

    def take_up(self, parts: Parts) -> int:
        """Set all parts of a training to where it was left, and return how many epochs are done; 0 where none are."""
        path = self._path
        if path is None or not path.is_file():
            return 0
        before = copy.deepcopy({name: part.state_dict() for name, part in parts.items()})
        try:
            with files.opened(path) as file:
                state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            if state["asked"] != self.asked:
                return 0  # of other data or another version
            for name, part in parts.items():
                part.load_state_dict(state["parts"][name])
            epoch = int(state["epoch"])
        except Exception as error:  # whatever a damaged file makes torch raise
            said = (str(error).splitlines() or [type(error).__name__])[0][:100]
            self.keeper.remark(f"{self.name} began anew: {path.name} cannot be read: {said}")
            for name, part in parts.items():  # some may have been set by then
                part.load_state_dict(before[name])
            return 0
        self.keeper.remark(f"{self.name} went on after epoch {epoch}")
        return epoch

    def keep(self, parts: Parts, *, epoch: int) -> None:
        """Put all parts into the file, if some time has gone by since they were last."""
        path = self._path
        if path is None or time.monotonic() - self._kept_at < self.keeper.every_s:
            return
        content = io.BytesIO()
        states = {name: part.state_dict() for name, part in parts.items()}
        torch.save({"epoch": epoch, "asked": self.asked, "parts": states}, content)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.put(path, content.getvalue(), sync=True)
        except OSError as error:  # a full disk costs what is kept, not the training
            self.keeper.remark(f"trainings could not be kept: {files.reason_of(error)}")
        self._kept_at = time.monotonic()

    @property
    def _path(self) -> Path | None:
        return None if self.keeper.folder is None else self.keeper.folder / f"{self.name}.training"
