"""The checkpoint of a training: a file that timm reads too, put in place whole after each epoch."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from attnbench import files
from attnbench.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """All that changes while a model is trained. What is drawn follows from seed and epoch, and needs no keeping."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    average: ModelEmaV3 | None
    """Moving average of the weights."""

    @property
    def scored(self) -> nn.Module:
        """What is scored: the average where there is one."""
        return self.model if self.average is None else self.average.module

    def keep(self, path: Path, *, epoch: int, asked: str, labels: Mapping[str, int]) -> None:
        """Put all of it into a file, in the place of what was kept before.

        Args:
            path: of the file; its folder is made.
            epoch: how many are done.
            asked: what was asked for, by which a training that goes on is known.
            labels: the numbers of the classes by name, where they have names.

        Raises:
            OSError: it cannot be written; what was there is there still.
        """
        state = {
            "epoch": epoch,
            "asked": asked,
            "state_dict": self.model.state_dict(),
            "optimizer": self.optimiser.state_dict(),
        }
        if self.average is not None:
            state["state_dict_ema"] = self.average.module.state_dict()
        if labels:
            state["class_to_idx"] = dict(labels)
        content = io.BytesIO()
        torch.save(state, content)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.put(path, content.getvalue(), sync=True)

    def take_up(self, path: Path, *, asked: str) -> int:
        """Go on from what a file has, and return how many epochs were done: 0 where there is none.

        Raises:
            DataError: it cannot be read, or is of another training.
        """
        if not path.exists():
            return 0
        where = next(self.model.parameters()).device
        try:
            with files.opened(path) as file:
                state: dict[str, Any] = torch.load(file, map_location=where, weights_only=True)
            if state["asked"] != asked:
                raise DataError(f"{path} is of another training: of other data, or by another version")
            self.model.load_state_dict(state["state_dict"])
            self.optimiser.load_state_dict(state["optimizer"])
            if self.average is not None:
                self.average.module.load_state_dict(state["state_dict_ema"])
            return int(state["epoch"])
        except DataError:
            raise
        except Exception as error:  # whatever a damaged file makes torch raise
            raise DataError(f"{path} cannot be gone on from: {str(error).splitlines()[0]}") from error
