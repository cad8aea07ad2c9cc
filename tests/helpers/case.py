"""What is asked of every mechanism, as one row: where, with what options, and what is expected there."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from layer_checks import random_layer_and_map
from places import Place
from torch import Tensor, nn

from attnbench.mechanism import Macs, Mechanism, Site

Options = Mapping[str, Any]
Parts = Mapping[str, str | tuple[str, ...]]


def nothing(_: nn.Module) -> None:
    """Leave a layer as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """What somebody else's layer with the same weights, or another formulation, has to agree with."""

    name: str
    places: Sequence[Place]
    expected: Callable[..., Tensor]
    """Takes a layer of ours, a map and the options; returns the map that ours must return."""
    rtol: float = 1e-11
    atol: float = 1e-11
    dtype: torch.dtype = torch.float64
    prepare: Callable[[nn.Module], None] = nothing
    """Changes the weights before the two are compared."""
    assert_gradients: Callable[[Tensor, Tensor], None] | None = None
    """Compares the gradients of the outputs' squares with respect to the map, where the other has such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Where a machine counts the closed form, and which part of it each operator belongs to."""

    places: Sequence[Place]
    parts: Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the forward pass, or a whole training step, of one image in float32 makes and keeps."""

    says: str
    place: Place
    training: bool = False
    largest: int | None = None
    """Elements of the largest tensor made."""
    largest_below: float | None = None
    saved_below: float | None = None
    """Bytes that autograd keeps for the backward pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A mechanism and all that the common tests ask of it."""

    mechanism: type[Mechanism]
    definition: Callable[..., Tensor]
    """Takes a layer, a map and the options, in float64, and returns the map the slow, obvious way."""
    defined_at: Sequence[Place]
    within: float = 1e-11
    gradients_within: float = 1e-8
    usual: Sequence[Place]
    """One place of each kind of layer, on a map that fits badly."""
    half_precision_at: Sequence[Place] | None = None
    """Where half precision is near float64; the usual places if None."""
    compiled_at: Sequence[Place] | None = None
    """Where the layer is compiled whole; the usual places if None."""
    compiled_within: tuple[float, float] = (1e-4, 1e-5)
    """rtol and atol of what is compiled, in float32."""
    exported_at: Sequence[Place] = ()
    counted: Sequence[Counted]
    counters_agree_at: Sequence[Place] = ()
    macs: Sequence[tuple[Site, Options, Macs]]
    """Worked out by hand."""
    refused: Sequence[tuple[Site, Options, str]] = ()
    """Values that no site could take, and what is said of them."""
    refused_by: Sequence[str] = ()
    """What refuses them besides building and ``why_unsupported``."""
    adaptations: Sequence[tuple[Site, Options, str | None]]
    others: Sequence[Other] = ()
    memory: Sequence[Memory] = ()
    std: float = 0.4
    prepare: Callable[[nn.Module], None] = nothing
    """Changes random weights, so that attention is far from uniform."""

    @property
    def backends(self) -> tuple[str, ...]:
        """The values of the option of that name that train, if there is one; others have tests of their own."""
        option = inspect.signature(self.mechanism, eval_str=True).parameters.get("backend")
        given = () if option is None else option.annotation.__args__
        return tuple(name for name in given if name not in self.mechanism.infers_only)

    def with_backends(self, places: Iterable[Place]) -> list[Place]:
        """Return each place once for each backend, where there are such."""
        given = [{"backend": backend} for backend in self.backends] or [{}]
        return [
            Place(name="-".join([place.name, *more.values()]), site=place.site, options={**place.options, **more})
            for place in places
            for more in given
        ]

    def layer_and_map(self, place: Place, **how: Any) -> tuple[Mechanism, Tensor]:
        """Return a layer with large random weights, and maps (batch, H, W, C)."""
        layer, x = random_layer_and_map(self.mechanism, place.site, std=self.std, **how, **place.options)
        self.prepare(layer)
        return layer, x


def each(cases: Mapping[str, Case], rows: Callable[[Case], Iterable[Any]]) -> Callable[..., Any]:
    """Return what parametrises a test by ``case`` and ``row``, one of those that each case has."""
    found = [
        pytest.param(case, row, id=f"{name}-{_label(row) or number}")
        for name, case in cases.items()
        for number, row in enumerate(rows(case))
    ]
    return pytest.mark.parametrize(("case", "row"), found)


def _label(row: Any) -> str:
    parts = row if isinstance(row, tuple) else (row,)
    names = [getattr(part, "name", getattr(part, "says", "")) for part in parts]
    return "-".join(name for name in names if name)
