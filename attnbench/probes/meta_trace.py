"""What a torch.jit trace of a module on the meta device lacks, put right.

Sizes are traced values while torch's Python code for that device computes with them, and convolutions are recorded
under a name by which they are only called on a real device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from attnbench.probes.shapes import leaves, result_of

_PLAIN = {torch.conv1d, torch.conv2d, torch.conv3d}
_TRANSPOSED = {torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d}
_PLAIN_TAKES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED_TAKES = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_DEFAULTS = {"bias": None, "stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
_TRACER = torch._C._dispatch_key_parse("Tracer")  # noqa: SLF001
_CUDNN_FLAGS = (False, False, False, False)


@contextmanager
def traceable_on_meta() -> Iterator[None]:
    """Let what runs inside be traced with torch.jit although its tensors are on the meta device."""
    with _RecordedConvolutions(), _ComputedUntraced():  # type: ignore[no-untyped-call]
        yield


@contextmanager
def _untraced() -> Iterator[None]:
    """Within, nothing is traced, so that a size is a plain number.

    Tracing is a state of the thread, which can be set only where its dispatch key is not excluded; it is in a mode.
    """
    state, excluded = torch._C._get_tracing_state(), torch._C._dispatch_tls_is_dispatch_key_excluded(_TRACER)  # noqa: SLF001
    torch._C._dispatch_tls_set_dispatch_key_excluded(_TRACER, False)  # noqa: SLF001
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]  # noqa: SLF001
    try:
        yield
    finally:
        torch._C._set_tracing_state(state)  # type: ignore[attr-defined]  # noqa: SLF001
        torch._C._dispatch_tls_set_dispatch_key_excluded(_TRACER, excluded)  # noqa: SLF001


class _ComputedUntraced(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Computes shapes out of the trace."""

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        if not any(_is_meta(leaf) for leaf in leaves((args, kwargs))):
            return func(*args, **kwargs)
        if func is torch.ops.aten._convolution.default:  # noqa: SLF001
            func, args = torch.ops.aten.convolution.default, args[:9]
        with _untraced():
            return _run(func, args, kwargs)


def _is_meta(leaf: object) -> bool:
    return leaf.is_meta if isinstance(leaf, Tensor) else leaf == torch.device("meta")


@torch.no_grad()
def _run(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return what an operator returns, with views made into tensors of their own, as a trace expects."""
    given = {id(leaf) for leaf in leaves((args, kwargs))}

    def fresh(tensor: Tensor) -> Tensor:
        if id(tensor) in given:
            return tensor
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)

    return tree_map_only(Tensor, fresh, result_of(func, args, kwargs))


class _RecordedConvolutions(TorchFunctionMode):
    """Calls convolutions by the name under which a trace records them: ``conv2d`` and its like leave no node."""

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        if func in _PLAIN:
            return _convolve({**_DEFAULTS, **dict(zip(_PLAIN_TAKES, args, strict=False)), **kwargs})
        if func in _TRANSPOSED:
            return _convolve(
                {**_DEFAULTS, **dict(zip(_TRANSPOSED_TAKES, args, strict=False)), **kwargs}, transposed=True
            )
        return func(*args, **kwargs)


def _convolve(given: dict[str, Any], *, transposed: bool = False) -> Tensor:
    x, weight = given["input"], given["weight"]
    sides = weight.dim() - 2
    stride, dilation, output_padding = (
        _per_side(given[name], sides) for name in ("stride", "dilation", "output_padding")
    )
    if isinstance(given["padding"], str):
        x = _padded(x, weight, dilation) if given["padding"] == "same" else x
        given["padding"] = 0
    padding = _per_side(given["padding"], sides)
    single = x.dim() == sides + 1
    y = torch._convolution(  # noqa: SLF001 - the name in traces
        x.unsqueeze(0) if single else x,
        weight,
        given["bias"],
        stride,
        padding,
        dilation,
        transposed,
        output_padding,
        given["groups"],
        *_CUDNN_FLAGS,
    )
    return y.squeeze(0) if single else y


def _padded(x: Tensor, weight: Tensor, dilation: list[int]) -> Tensor:
    """Return a map padded so that a convolution of stride 1 keeps its size."""
    reach = [step * (int(taps) - 1) for step, taps in zip(dilation, weight.shape[2:], strict=True)]
    return F.pad(x, [pad for each in reversed(reach) for pad in (each // 2, each - each // 2)])


def _per_side(value: Any, sides: int) -> list[int]:  # noqa: ANN401 - a number or one per side
    values = [int(each) for each in value] if isinstance(value, Sequence) else [int(value)]
    return values * sides if len(values) == 1 else values
