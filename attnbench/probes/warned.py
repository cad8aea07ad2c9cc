"""What is warned of during a call, every time and not only the first: torch says many things once a process."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch

from attnbench import inert

_MOST, _LONGEST = 3, 200
"""Texts that are kept of a call, and characters of each."""
_FOR_PROGRAMMERS: Final = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
"""What Python itself does not show: it says nothing about the call."""


@contextmanager
def warned() -> Iterator[list[str]]:
    """Yield a list that holds, once the block has ended, what was warned of in it; the log has it as well.

    Example:
        >>> with warned() as texts:
        ...     warnings.warn("slow path", stacklevel=1)
        >>> texts
        ['slow path']
    """
    texts: list[str] = []
    always = torch.is_warn_always_enabled()
    with _flex_attention_warns_again(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.set_warn_always(True)
        try:
            yield texts
        finally:
            torch.set_warn_always(always)
            texts += _brief(caught)
    for each in caught:
        warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def said(texts: Sequence[str]) -> str | None:
    """Return texts as one of bounded length, None for none."""
    more = [f"and {len(texts) - _MOST} more"] if len(texts) > _MOST else []
    return "; ".join([*texts[:_MOST], *more]) or None


def _brief(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    told = [str(each.message) for each in caught if not issubclass(each.category, _FOR_PROGRAMMERS)]
    return list(dict.fromkeys(inert.brief(" ".join(text.split()), most=_LONGEST) for text in told))


@contextmanager
def _flex_attention_warns_again() -> Iterator[None]:
    """Let FlexAttention, which remembers what it has warned of, do so anew in the block."""
    module = sys.modules.get("torch.nn.attention.flex_attention")
    shown = getattr(module, "_WARNINGS_SHOWN", None)
    if not isinstance(shown, set):
        yield
        return
    before = set(shown)
    shown.clear()
    try:
        yield
    finally:
        shown |= before
