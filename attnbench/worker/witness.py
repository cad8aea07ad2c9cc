"""What timed calls are given, and what some of them returned, so that another process can say whether it is right.

Before each call the input gets new values and every generator a new seed, outside the timed part. After it, by a coin
that the system throws, what it returned may be kept, with the number that all of that follows from. Nothing says
beforehand which call it will be.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from attnbench.models import calls
from attnbench.models.values import draw, seed_all
from attnbench.record import Cell, Mode
from attnbench.worker.objection import Objection
from attnbench.worker.ready import Ready

KEPT = 5
"""Calls of a cell that are kept."""
_MOST = 2**16
_MOST_OF_A_GRADIENT = 2**12
"""Elements of a tensor that are kept; of a larger one as many, drawn anew for each call."""
BUFFER = "buffer "
"""Start of the names of what a training step found in the model's buffers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """One call that was kept."""

    call: int
    """Which of the timed calls it was, from 1."""
    number: int
    """What its values and seeds were drawn by."""
    picks: int
    """What the elements were drawn by."""
    tensors: Mapping[str, Tensor]
    """Elements of outputs, of the input as it was left, in training of gradients, by name; in training, too, what
    the buffers held before the call that earlier calls had changed."""

    @property
    def buffers(self) -> dict[str, Tensor]:
        """What the call found in buffers, by name."""
        return {name.removeprefix(BUFFER): each for name, each in self.tensors.items() if name.startswith(BUFFER)}


class _Buffers:
    """What a model's buffers of real numbers hold before each call: spectral norms, running means."""

    def __init__(self, model: nn.Module) -> None:
        own = {name: each for name, each in model.named_buffers() if each.is_floating_point()}
        self._own = {name: each for name, each in own.items() if 0 < each.numel() <= _MOST}
        self._first = {name: each.clone() for name, each in self._own.items()}
        self._before = {name: each.clone() for name, each in self._own.items()}

    @torch.no_grad()
    def note(self) -> None:
        """Take down what they hold, before a call."""
        if self._own:
            torch._foreach_copy_(list(self._before.values()), list(self._own.values()))

    def moved(self) -> dict[str, Tensor]:
        """Return what was taken down of those that calls have changed."""
        found = {name: each for name, each in self._before.items() if not torch.equal(each, self._first[name])}
        return {f"{BUFFER}{name}": each.to("cpu", copy=True) for name, each in found.items()}


class Witness:
    """Stands beside the timed calls of a cell."""

    def __init__(self, one: Ready) -> None:
        self._one = one
        self._values = calls.values(one.cell, one.x)
        self._number = 0
        self._returned: Any = None
        self._calls = 0
        self._kept: list[Testimony] = []
        self._odd = ""
        self._buffers = _Buffers(one.model) if one.cell.mode is Mode.TRAIN else None

    @property
    def cell(self) -> Cell:
        """The cell whose calls it stands beside."""
        return self._one.cell

    @property
    def objections(self) -> list[Objection]:
        """What it has seen that no honest layer does."""
        return [Objection(said=self._odd, sure=True)] if self._odd else []

    def prepare(self) -> None:
        """Give the next call its values, and let go of what the one before returned."""
        self._returned = None
        self._number = draw()
        self._values.fill(self._number)
        if self._buffers:
            self._buffers.note()
        seed_all(self._number)

    def call(self) -> None:
        """Make the call that is timed."""
        self._returned = self._one.call()

    def testify(self) -> None:
        """Look at what a timed call has returned, and keep it if the coin says so: each call is as likely to be."""
        self._calls += 1
        self._odd = self._odd or _odd(self._returned)
        place = self._calls - 1 if self._calls <= KEPT else secrets.randbelow(self._calls)
        if self._odd or place >= KEPT:
            return
        picks = draw()
        one = self._one
        tensors = observed(one.model, one.x, self._returned, picks=picks, training=one.cell.mode is Mode.TRAIN)
        if self._buffers:
            tensors |= self._buffers.moved()
        kept = Testimony(call=self._calls, number=self._number, picks=picks, tensors=tensors)
        self._kept[place : place + 1] = [kept]

    def write(self, path: Path) -> None:
        """Write what was kept, and the weights as they are now."""
        picks = draw()
        tensors = {f"weights/{name}": tensor for name, tensor in weights(self._one.model, picks).items()}
        for index, kept in enumerate(self._kept):
            tensors |= {f"{index}/{name}": tensor for name, tensor in kept.tensors.items()}
        said = [{**asdict(kept), "tensors": sorted(kept.tensors)} for kept in self._kept]
        about = {"calls": self._calls, "picks": picks, "kept": said}
        with contextlib.suppress(OSError, SafetensorError):  # without room: that nothing can be read is said in time
            save_file(tensors, path, metadata={"about": json.dumps(about)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a witness wrote."""

    calls: int
    """Timed calls in all."""
    kept: tuple[Testimony, ...]
    picks: int
    """What the elements of the weights were drawn by."""
    weights: Mapping[str, Tensor]
    """After the last call."""

    @classmethod
    def read(cls, path: Path) -> Evidence:
        """Return what a file holds.

        Raises:
            OSError: it is not there.
            Exception: whatever safetensors raises of a file that is none of its own.
        """
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        kept = tuple(
            Testimony(**{**said, "tensors": {name: tensors[f"{index}/{name}"] for name in said["tensors"]}})
            for index, said in enumerate(about["kept"])
        )
        found = {name.removeprefix("weights/"): each for name, each in tensors.items() if name.startswith("weights/")}
        return cls(calls=about["calls"], kept=kept, picks=about["picks"], weights=found)


def observed(model: nn.Module, x: Tensor, returned: Any, *, picks: int, training: bool) -> dict[str, Tensor]:  # noqa: ANN401
    """Return elements of all that a call has left: outputs, the input, in training the gradients.

    Args:
        model: holds the parameters.
        x: the input.
        returned: by the call.
        picks: what the elements are drawn by.
        training: whether there are gradients.
    """
    found = {f"output {index}": each for index, each in enumerate(calls.outputs_of(returned))}
    found = {name: _some(each, picks, _MOST) for name, each in (found | {"input": x}).items()}
    if training:
        found |= {name: _some(each, picks, _MOST_OF_A_GRADIENT) for name, each in _gradients(model, x)}
    return found


def weights(model: nn.Module, picks: int) -> dict[str, Tensor]:
    """Return elements of a model's parameters."""
    return {name: _some(each, picks, _MOST_OF_A_GRADIENT) for name, each in model.named_parameters()}


def _gradients(model: nn.Module, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    if x.grad is not None:
        yield "gradient of the input", x.grad
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            yield f"gradient of {name}", parameter.grad


def _some(tensor: Tensor, picks: int, most: int) -> Tensor:
    """Return elements of a tensor as a new one, on the CPU."""
    flat = tensor.detach().reshape(-1)
    if flat.is_complex():
        flat = torch.view_as_real(flat).reshape(-1)
    if flat.numel() > most:
        drawn = np.random.default_rng(picks).integers(0, flat.numel(), most)
        flat = flat[torch.from_numpy(drawn).to(flat.device)]
    return flat.to("cpu", copy=True)


def _odd(returned: object) -> str:
    """Return what is wrong with what a call returned: anything that may not be worked out yet."""
    outputs = returned if isinstance(returned, list | tuple) else (returned,)
    kinds = {type(each).__name__ for each in outputs if type(each) is not Tensor}
    if kinds:
        named = ", ".join(sorted(kinds))
        return f"a timed call returned {named} and no plain tensor: what that holds may not be worked out yet"
    return ""
