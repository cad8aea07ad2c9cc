"""An attention layer as it stands inside a network of timm's: ``timm:focalnet_tiny_srf``.

The network is built without memory, and what its first layer of a kind was given is written down. What a site says,
such as channels and heads, is left to the site; all else stays as the network has it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import nn

from attnbench.errors import PluginError, did_you_mean
from attnbench.plugins.names import KNOWN, PLACES

_KINDS = ("xca", "shsa", "attention", "attn", "modulation", "mixer")
"""What stands in the name of a class that mixes tokens, in lower case; those named first are taken first."""
_WHOLE = ("block", "class", "pool")
"""What stands in the name of a class that is more than the layer, or none of a map; they are taken last."""


def layer_of(network: str, wanted: str = "") -> tuple[type[nn.Module], Mapping[str, object]]:
    """Return the class of a network's attention layer, and what the network gives it that no site says.

    Args:
        network: a name that timm knows.
        wanted: the name of the class, where the network has several; the first that it builds, if empty.

    Raises:
        PluginError: timm has no such network, it cannot be built, or it has no such layer.
    """
    import timm  # noqa: PLC0415 - heavy, and nobody else here asks for it

    if not timm.is_model(network):
        raise PluginError(f"timm has no network {network!r}; {did_you_mean(network, timm.list_models())}")
    module = timm.model_entrypoint(network).__module__
    built: dict[type[nn.Module], Mapping[str, object]] = {}
    try:
        with _written_down(_candidates(module), built), torch.device("meta"):
            timm.create_model(network)
    except Exception as error:
        raise PluginError(f"timm's {network} cannot be built: {type(error).__name__}: {error}") from error
    found = {kind.__name__: kind for kind in sorted(built, key=_place)}
    name = wanted or next(iter(found), "")
    if name not in found:
        has = f"it has {', '.join(found)}" if found else "it has none that is called attention, modulation or mixer"
        raise PluginError(f"timm's {network} has no layer {wanted or 'of attention'}; {has}")
    return found[name], built[found[name]]


def _place(kind: type[nn.Module]) -> tuple[bool, int]:
    name = kind.__name__.lower()
    return any(part in name for part in _WHOLE), next(place for place, part in enumerate(_KINDS) if part in name)


def _candidates(module: str) -> list[type[nn.Module]]:
    """Return the classes of layers that mix tokens, of a network's own module and of timm's shared layers."""
    named = [*vars(sys.modules[module]).values(), *vars(sys.modules["timm.layers"]).values()]
    kinds = [each for each in named if isinstance(each, type) and issubclass(each, nn.Module)]
    return [kind for kind in dict.fromkeys(kinds) if any(part in kind.__name__.lower() for part in _KINDS)]


@contextmanager
def _written_down(kinds: list[type[nn.Module]], built: dict[type[nn.Module], Mapping[str, object]]) -> Iterator[None]:
    """Within, write down what the first layer of each class is given."""
    before = {kind: kind.__init__ for kind in kinds if "__init__" in vars(kind)}
    for kind, constructor in before.items():
        kind.__init__ = _recording(kind, constructor, built)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for kind, constructor in before.items():
            kind.__init__ = constructor  # type: ignore[method-assign]


def _recording(kind: type[nn.Module], constructor: Any, built: dict[type[nn.Module], Mapping[str, object]]) -> Any:  # noqa: ANN401
    signature = inspect.signature(constructor)

    @wraps(constructor)
    def recording(self: nn.Module, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        if type(self) is kind and kind not in built:
            given = signature.bind(self, *args, **kwargs).arguments
            built[kind] = {name: value for name, value in [*given.items()][1:] if _is_its_own(name, value, signature)}
        constructor(self, *args, **kwargs)

    return recording


def _is_its_own(name: str, value: object, signature: inspect.Signature) -> bool:
    """Say whether an argument is the network's own: none that a site says, and not what it is anyway."""
    parameter = signature.parameters[name]
    several = parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    return not (several or name in KNOWN or name in PLACES or value is parameter.default)
