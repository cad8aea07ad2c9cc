"""Modules whose tensors hold no data: what operations are counted on and memory is estimated with."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

Inputs = tuple[Tensor, ...]
Build = Callable[[], tuple[nn.Module, Inputs]]
"""Returns a module and the inputs of one call, made on the default device: it must not name a device itself."""


def build_on_meta(build: Build) -> tuple[nn.Module, Inputs]:
    """Build a module and its inputs on the meta device, where a tensor is a shape and takes no memory.

    A module that reads numbers from its tensors while it is built cannot be built there. It is built for real
    and stripped afterwards, and takes the memory of its parameters and inputs for that moment.
    """
    try:
        with torch.device("meta"):
            model, inputs = build()
    except (NotImplementedError, RuntimeError):
        model, inputs = build()
    replace_tensors(model, _stripped)
    return model, tuple(_stripped(each) for each in inputs)


def without_data(model: nn.Module) -> nn.Module:
    """Return a copy of a module on the meta device. No storage is copied on the way; the module stays as it is.

    Raises:
        TypeError: the module holds something that ``copy.deepcopy`` refuses.
    """
    shared = {id(each): each for module in model.modules() for each in _tensors(vars(module))}
    clone = copy.deepcopy(model, shared)
    replace_tensors(clone, _stripped)
    return clone


def replace_tensors(model: nn.Module, make: Callable[[Tensor], Tensor]) -> None:
    """Put what ``make`` returns in the place of every tensor of a module: parameters, buffers, plain attributes.

    A tensor found in two places, such as a tied weight, is made once. Parameters stay parameters.
    """
    made: dict[int, tuple[Tensor, Tensor]] = {}

    def replacement(old: Tensor) -> Tensor:
        if id(old) not in made:
            new = make(old)
            if isinstance(old, nn.Parameter):
                new = nn.Parameter(new, old.requires_grad)
            made[id(old)] = (old, new)  # the old one is held so that its id stays its own
        return made[id(old)][1]

    for module in model.modules():
        for name, value in vars(module).items():
            if _tensors(value):
                vars(module)[name] = tree_map_only(Tensor, replacement, value)


def _tensors(value: object) -> list[Tensor]:
    if value is None or isinstance(value, int | float | str):  # most of what a module holds
        return []
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _stripped(tensor: Tensor) -> Tensor:
    return tensor.detach().to("meta").requires_grad_(tensor.requires_grad)
