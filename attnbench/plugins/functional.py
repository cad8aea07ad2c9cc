"""Attention that is written as a function of q, k and v, as a module: between the usual projections."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from attnbench.errors import PluginError
from attnbench.plugins.options import hints

Attend = Callable[..., Tensor]
_NAMES = ({"q", "query", "queries"}, {"k", "key", "keys"}, {"v", "value", "values"})


class Projected(nn.Module):
    """Projections to q, k and v, a function of the three, and a projection of what it returns: (B, N, C) to (B, N, C).

    Example:
        >>> import torch
        >>> Projected(lambda q, k, v: v, dim=8, heads=2)(torch.zeros(1, 5, 8)).shape
        torch.Size([1, 5, 8])
    """

    def __init__(self, attend: Attend, dim: int, heads: int, **options: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.attend, self.heads, self.options = attend, heads, options
        self.qkv, self.project = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attended tokens; of several outputs of the function, the first is taken."""
        batch, tokens, dim = x.shape
        # (B, N, 3 C) -> (3, B, h, N, d)
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        y = self.attend(q, k, v, **self.options)
        attended: Tensor = y[0] if isinstance(y, tuple | list) else y
        if attended.shape != q.shape:
            raise PluginError(
                f"the function of q, k and v returned {tuple(attended.shape)} for {tuple(q.shape)} (B, h, N, d); "
                "the shape must be kept"
            )
        projected: Tensor = self.project(attended.transpose(1, 2).reshape(batch, tokens, dim))
        return projected


def is_of_qkv(function: object) -> bool:
    """Return whether a function's first three arguments are called as queries, keys and values are."""
    try:
        taken = list(inspect.signature(function).parameters)[:3]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return len(taken) == len(_NAMES) and all(name.lower() in known for name, known in zip(taken, _NAMES, strict=True))


def between_projections(function: Attend) -> Callable[..., nn.Module]:
    """Return what builds a module around a function; the function's further arguments are the module's.

    Args:
        function: of q, k and v.
    """

    def build(dim: int, heads: int, **options: Any) -> nn.Module:  # noqa: ANN401
        return Projected(function, dim, heads, **options)

    further = _further(function)
    own = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=int) for name in ("dim", "heads")
    ]
    build.__name__ = getattr(function, "__name__", type(function).__name__)
    build.__doc__ = inspect.getdoc(function)
    build.__module__ = getattr(function, "__module__", __name__)
    build.__signature__ = inspect.Signature([*own, *further])  # type: ignore[attr-defined]
    build.__annotations__ = {each.name: each.annotation for each in (*own, *further)}
    return build


def _further(function: Attend) -> list[inspect.Parameter]:
    """Return the arguments after q, k and v by which a module can be built; none for functions without a signature."""
    try:
        taken = list(inspect.signature(function).parameters.values())[3:]
    except (TypeError, ValueError):
        return []
    known, named = hints(function), (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=known.get(each.name, type(each.default)))
        for each in taken
        if each.kind in named
    ]
