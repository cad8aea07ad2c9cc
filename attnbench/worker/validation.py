"""One look at what a mechanism returns, before anything is made of it.

A residual hides a map of the wrong shape, since it broadcasts, and numbers that are none cost as much time as others.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from attnbench.errors import PluginError
from attnbench.mechanism import Map, Mechanism
from attnbench.worker import torch_state
from attnbench.worker.surroundings import World


def validate(model: nn.Module, x: Tensor, *, world: World | None = None) -> None:
    """Run a model twice and look at what each mechanism in it returns, and at what it leaves behind.

    Args:
        model: what is run.
        x: its input.
        world: what its calls are to find changed.

    Raises:
        PluginError: a map of another shape or type, values that are not finite, memory that a second call adds to, or
            a global switch of torch that was set: in the timed calls it would be set for the other mechanisms too.
    """
    run = (world or World()).around(model)
    with torch_state.restored() as changes, torch.no_grad(), watched(model):
        y = run(x)
    if changes:
        raise PluginError(f"its forward pass changes torch for everyone: {'; '.join(changes)}; leave that to others")
    for output in _outputs(y, type(model).__name__):
        _require_finite(output, type(model).__name__)
        del output
    del y
    require_nothing_kept(run, x)


def _outputs(y: object, name: str) -> Sequence[Tensor]:
    found = (y,) if isinstance(y, Tensor) else y
    if not isinstance(found, Sequence) or not all(isinstance(each, Tensor) for each in found):
        raise PluginError(
            f"{name} returned a {type(y).__name__}; a tensor, or a list or tuple of tensors, can be timed"
        )
    return found


def require_nothing_kept(model: Callable[[Tensor], object], x: Tensor) -> None:
    """Run a model that has filled its caches, and raise PluginError if tensors stay that were not there before."""
    before = _bytes_alive()
    with torch.no_grad():
        model(x)
    kept = _bytes_alive() - before
    if kept > 0:
        raise PluginError(f"it keeps {kept:,} bytes of tensors more after every call; let go of what a call made")


def _bytes_alive() -> int:
    """Return the bytes of all tensors that Python reaches, each storage once."""
    gc.collect()
    alive = [each for each in gc.get_objects() if type(each) in {Tensor, nn.Parameter}]
    storages = [storage for each in alive if (storage := _storage(each)) is not None]
    return sum({each._cdata: each.nbytes() for each in storages}.values())  # noqa: SLF001 - data_ptr is 0 on meta


def _storage(tensor: Tensor) -> torch.UntypedStorage | None:
    """Return where a tensor's numbers lie; None for sparse ones and for the wrappers of transforms such as vmap."""
    try:
        return tensor.untyped_storage() if tensor.layout == torch.strided else None
    except (NotImplementedError, RuntimeError):  # a wrapper whose transform has ended cannot even say its layout
        return None


@contextmanager
def watched(model: nn.Module) -> Iterator[None]:
    """Within, a mechanism of the model that returns something unfit raises PluginError."""
    layers = [layer for layer in model.modules() if isinstance(layer, Mechanism)]
    for layer in layers:
        layer.step = _watched_step(layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.step


def _watched_step(layer: Mechanism) -> Any:  # noqa: ANN401 - the signature of step
    step, name = layer.step, type(layer).__name__

    def watched_step(x: Map, carry: Any) -> tuple[Map, Any]:  # noqa: ANN401
        attended, carry = step(x, carry)
        by = layer.shrunk_by
        kept = (x.shape[0], -(-x.shape[1] // by), -(-x.shape[2] // by), x.shape[3])
        if not isinstance(attended, Tensor) or attended.shape != kept:
            returned = tuple(attended.shape) if isinstance(attended, Tensor) else f"a {type(attended).__name__}"
            must = "the shape must be kept" if by == 1 else f"shrunk by {by} it is {kept}"
            raise PluginError(f"{name} returned {returned} for a map of {tuple(x.shape)}; {must}")
        if attended.dtype != x.dtype:
            raise PluginError(f"{name} returned {attended.dtype} for a map of {x.dtype}; the type must be kept")
        _require_finite(attended, name)
        return attended, carry

    return watched_step


def _require_finite(y: Tensor, name: str) -> None:
    if y.is_meta:
        return
    unfit = int((~y.isfinite()).sum())
    if unfit:
        raise PluginError(f"{name} returned infinities or what is no number: {unfit:,} of {y.numel():,} values")
