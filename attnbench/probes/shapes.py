"""What operators return on the meta device, remembered.

torch works shapes out in Python there, a third of a millisecond each, and the layers of a stack, the counters and the
mechanisms of a sweep ask the same again and again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_MOST = 20_000
"""Results that are kept; then they are forgotten."""
_PLAIN = (int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)


class _Form(NamedTuple):
    """All that a result on the meta device depends on, of a tensor."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class _Unknown(Exception):  # noqa: N818 - a way out
    """A result may depend on more than can be told."""


_KNOWN: dict[Any, _Form | tuple[_Form, ...]] = {}


def result_of(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return what an operator returns for its arguments; on the meta device, from memory if it can.

    Args:
        func: an overload of an operator.
        args: its positional arguments.
        kwargs: those by name.
    """
    try:
        asked = _key(func, args, kwargs)
    except _Unknown:
        return func(*args, **kwargs)
    if asked in _KNOWN:
        return _made(_KNOWN[asked])
    out = func(*args, **kwargs)
    if len(_KNOWN) >= _MOST:
        _KNOWN.clear()
    if isinstance(out, Tensor) and _told(out):
        _KNOWN[asked] = _form(out)
    elif isinstance(out, tuple) and all(isinstance(each, Tensor) and _told(each) for each in out):
        _KNOWN[asked] = tuple(_form(each) for each in out)
    return out


def leaves(value: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield what an operator takes or returns, one by one, sooner than torch's own walk over trees of any kind."""
    if isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each)
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))
    else:
        yield value


def _key(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return what a result depends on.

    Raises:
        _Unknown: it is not known, or the result is one of the arguments or a view of it.
    """
    if not _makes_new(func):
        raise _Unknown
    return func, _of(args), *((name, _of(value)) for name, value in kwargs.items())


def _of(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Tensor):
        if not _told(value):
            raise _Unknown
        return _form(value)
    if isinstance(value, list | tuple):
        return tuple(_of(each) for each in value)
    if type(value) not in _PLAIN:
        raise _Unknown
    return type(value), value  # 1 equals True


def _told(tensor: Tensor) -> bool:
    plain = type(tensor) in {Tensor, nn.Parameter} and tensor.is_meta and tensor.layout is torch.strided
    return plain and not tensor.is_complex() and not tensor.is_neg()


def _form(tensor: Tensor) -> _Form:
    return _Form(tuple(tensor.shape), tensor.stride(), tensor.dtype)


def _made(form: _Form | tuple[_Form, ...]) -> Tensor | tuple[Tensor, ...]:
    if isinstance(form, _Form):
        return torch.empty_strided(form.shape, form.stride, dtype=form.dtype, device="meta")
    return tuple(torch.empty_strided(each.shape, each.stride, dtype=each.dtype, device="meta") for each in form)


@cache
def _makes_new(func: Any) -> bool:  # noqa: ANN401
    """Return whether an operator of torch's own returns new tensors and writes into none."""
    schema = func._schema  # noqa: SLF001 - the only place where an operator says what it takes
    aliased = any(each.alias_info is not None for each in (*schema.arguments, *schema.returns))
    return func.namespace == "aten" and not aliased
