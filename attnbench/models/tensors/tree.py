"""The tensors in what a file was decoded to: flat, without what training wraps around them, no larger than stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

Tensors: TypeAlias = dict[str, Tensor]

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "module", "model_state", "params")
"""Entries that hold the tensors among other things (optimiser, epoch), averaged weights first as in timm."""
_PREFIXES = ("module.", "_orig_mod.", "params/")
"""What parallel training, compilation and Flax put before every name."""
_DEEPEST, _MOST_NODES, _LONGEST_NAME = 32, 200_000, 1000
"""Pickles may contain themselves, or one branch many times over; no network comes near these."""


def named(tree: Any) -> Tensors:  # noqa: ANN401
    """Return the tensors of a decoded file, flat, without wrappers and prefixes.

    Raises:
        ValueError: the tree is too deep or too large for a checkpoint, or a tensor has not all its values.
    """
    flat = dict(_leaves(_unwrapped(tree)))
    for name, tensor in flat.items():
        _check_stored(name, tensor)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in flat):
            flat = {name.removeprefix(prefix): tensor for name, tensor in flat.items()}
    return flat


def _unwrapped(tree: Any) -> Any:  # noqa: ANN401
    for _ in range(_DEEPEST):
        inner = _inner(tree) if isinstance(tree, Mapping) else None
        if inner is None:
            return tree
        tree = inner
    raise ValueError(f"tensors wrapped more than {_DEEPEST} times")


def _inner(tree: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the entry that holds the tensors among other things, if one does."""
    optimizer = tree.get("optimizer", tree)
    if isinstance(optimizer, Mapping) and {"target", "state"} <= optimizer.keys():  # as flax.optim was saved
        return _entry(optimizer, "target")
    if "opt_state" in tree:  # as Flax's TrainState is saved, whose statistics may go by a wrapper's name
        return _entry(tree, "params")
    return _entry(tree, *_WRAPPERS)


def _entry(tree: Mapping[str, Any], *names: str) -> Mapping[str, Any] | None:
    entries = (tree.get(name) for name in names)
    return next((entry for entry in entries if isinstance(entry, Mapping) and entry), None)


def _leaves(tree: Any) -> Iterator[tuple[str, Tensor]]:  # noqa: ANN401
    """Yield the tensors under the names of the branches that lead to them, in their order."""
    for count, (name, node) in enumerate(_nodes(tree if isinstance(tree, Mapping) else {}, "", 0)):
        if count >= _MOST_NODES or len(name) > _LONGEST_NAME:
            raise ValueError(f"more than {_MOST_NODES} entries, or a name longer than {_LONGEST_NAME} characters")
        if isinstance(node, Tensor):
            yield name, node


def _nodes(tree: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if depth > _DEEPEST:
        raise ValueError(f"entries within more than {_DEEPEST} others")
    yield name, tree
    if isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield from _nodes(branch, f"{name}/{key}" if name else str(key), depth + 1)


def _check_stored(name: str, tensor: Tensor) -> None:
    """Raise unless a tensor has a value of its own in memory for every element."""
    if tensor.is_meta or tensor.layout != torch.strided:
        raise ValueError(f"{name} is a tensor of layout {tensor.layout} on {tensor.device}, not one of plain values")
    stored = tensor.untyped_storage().nbytes() // tensor.itemsize
    if tensor.numel() > stored:
        raise ValueError(f"{name} has {tensor.numel()} elements but {stored} values, save it without expanding it")
