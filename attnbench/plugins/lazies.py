"""Modules whose parameters have no shape before the first call, as ``nn.LazyLinear``: given theirs by a call."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from attnbench.mechanism import Map
from attnbench.probes.weightless import build_on_meta


def has_lazies(model: nn.Module) -> bool:
    """Return whether a module has parameters or buffers without a shape."""
    return any(is_lazy(each) for each in chain(model.parameters(), model.buffers()))


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a module built without data, where it is lazy with its shapes open still."""
    try:
        return build_on_meta(lambda: (build(), ()))[0]
    except ValueError:  # of what has no shape no data can be taken
        with torch.device("meta"):
            return build()


def shape(model: nn.Module, x: Map) -> None:
    """Give what is lazy in a module its shape by a call, in which it learns nothing of the values."""
    if has_lazies(model):
        trains = model.training
        with torch.no_grad():
            model.eval()(x)
        model.train(trains)
