"""Annotations, jaxtyping's shapes among them, hold in every call under test but where torch traces one."""

from __future__ import annotations

from collections.abc import Sequence

import jaxtyping
import torch


class _WhereNothingIsTraced(type(jaxtyping.config)):  # type: ignore[misc]
    """A tensor that is traced has no type to ask for, and what checks it would break the graph."""

    @property
    def jaxtyping_disable(self) -> bool:
        return torch.compiler.is_compiling() or torch.jit.is_tracing()

    @jaxtyping_disable.setter
    def jaxtyping_disable(self, value: bool) -> None:
        pass


def check_shapes_of(modules: Sequence[str]) -> None:
    """Let calls in modules that nobody has imported yet raise where an annotation does not hold."""
    jaxtyping.config.__class__ = _WhereNothingIsTraced
    jaxtyping.install_import_hook(modules, "beartype.beartype")
