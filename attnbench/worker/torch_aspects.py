"""What torch has one of for a whole process, its switches aside: modes, hooks, settings of its compilers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Final

import torch._dynamo.config
import torch._inductor.config
import torch.library
from torch.nn.modules import module
from torch.overrides import _get_current_function_mode_stack, _pop_mode, _push_mode
from torch.utils import _python_dispatch

from attnbench.worker.aspects import Aspect, listed, some

_HOOKS: Final = {name: hooks for name, hooks in vars(module).items()
                 if name.startswith("_global_") and isinstance(hooks, dict)}  # fmt: skip


def _hooks() -> dict[str, tuple[Any, ...]]:
    return {name: tuple(hooks.items()) for name, hooks in _HOOKS.items()}


def _set_hooks(was: Mapping[str, tuple[Any, ...]]) -> None:
    for name, hooks in was.items():
        _HOOKS[name].clear()
        _HOOKS[name].update(hooks)


def _stack(
    get: Callable[[], Sequence[Any]], push: Callable[[Any], object], pop: Callable[[], object], what: str
) -> Aspect:
    """Return the aspect that a stack of modes is: each sees every call of torch that is made under it."""

    def write(was: Sequence[Any]) -> None:
        while get():
            pop()
        for mode in was:
            push(mode)

    return Aspect(
        read=lambda: list(get()),
        write=write,
        said=lambda _, now: f"{what}: {listed([type(each).__name__ for each in now]) or 'none'}",
        kept=True,
    )


def _settings(config: ModuleType, what: str) -> Aspect:
    def write(was: Mapping[str, Any]) -> None:
        now = config.get_config_copy()
        for name, value in was.items():
            if now[name] != value:
                setattr(config, name, value)

    return Aspect(read=config.get_config_copy, write=write, said=some(what), kept=True)


def _kernels() -> frozenset[str]:
    """Return the kernels of torch's own operators that Python brought, those without numbers left out."""
    return frozenset(each for each in torch.library._impls if each.startswith("aten/") and not each.endswith("/Meta"))  # noqa: SLF001


ASPECTS: Final[Mapping[str, Aspect]] = {
    "function modes": _stack(_get_current_function_mode_stack, _push_mode, _pop_mode, "modes of torch's functions"),
    "dispatch modes": _stack(
        _python_dispatch._get_current_dispatch_mode_stack,  # noqa: SLF001 - there is no other way to read it
        _python_dispatch._push_mode,  # noqa: SLF001
        _python_dispatch._pop_mode,  # noqa: SLF001
        "modes of torch's operators",
    ),
    "hooks": Aspect(read=_hooks, write=_set_hooks, said=some("hooks on all modules:"), kept=True),
    "dynamo": _settings(torch._dynamo.config, "settings of torch._dynamo:"),  # noqa: SLF001
    "inductor": _settings(torch._inductor.config, "settings of torch._inductor:"),  # noqa: SLF001
    "kernels": Aspect(
        read=_kernels,
        write=lambda _: None,  # torch has no way back but the registering library's own
        said=lambda was, now: f"kernels of torch's own operators: {listed(sorted(was ^ now))}",
    ),
}
