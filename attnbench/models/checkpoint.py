"""Weights of networks from files, as data only: pickled code is never run.

A plugin's network reads what its ``load_pretrained`` reads, others what ``attnbench.models.tensors`` does.
What depends on the image size, such as position embeddings, is resampled as timm does.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten

import timm
from torch import nn

from attnbench.errors import DataError
from attnbench.models import networks
from attnbench.models.tensors import Tensors, check_fit, read
from attnbench.record import Value

_MOST_LINES, _LONGEST_LINE = 12, 300
"""How much is shown of what a stranger's loader says of tensors that do not fit."""


def check(
    path: Path,
    *,
    network: str,
    options: Mapping[str, Value],
    sizes: Sequence[tuple[int, int]],
) -> tuple[str, int | None]:
    """Load a checkpoint into a network at every image size.

    Returns the first 12 digits of its SHA-256, and the classes of the network, None if it takes none of the sizes.

    A size that the network cannot take is no mistake of the checkpoint's; the network's cell says so.

    Args:
        path: the file.
        network: as timm knows it.
        options: of the network.
        sizes: height and width in pixels.

    Raises:
        DataError: the file cannot be read, or does not fit.
    """
    found = digest(path)
    classes: int | None = None
    for height, width in sizes:
        try:
            model = networks.create(network, height=height, width=width, options=options)
        except Exception:  # noqa: S112 - whatever a stranger's constructor raises
            continue
        load(path, model, network=network)
        classes = int(model.num_classes)  # type: ignore[arg-type] # a number in every network of timm's
    return found, classes


def digest(path: Path) -> str:
    """Return the first 12 digits of the SHA-256 of a checkpoint.

    Raises:
        DataError: there is no such file.
    """
    if not path.is_file():
        raise DataError(f"no checkpoint file at {path}")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def load(path: Path, model: nn.Module, *, network: str) -> None:
    """Load the weights of a file into a network, every tensor of both.

    Raises:
        DataError: the file cannot be read or does not fit; the message names the tensors, with both shapes.
    """
    own: Callable[[Path], object] | None = getattr(model, "load_pretrained", None)
    try:
        if own is not None and network in networks.plugins():
            own(path)
        else:
            _load_state(read(path), model, network)
    except DataError as error:
        said = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise type(error)(f"{said}{_hint(said, model, network)}") from None
    except Exception as error:  # a stranger's loader may raise anything
        raise DataError(f"{path} does not fit: {_few_lines(str(error) or type(error).__name__)}") from error


def _load_state(tensors: Tensors, model: nn.Module, network: str) -> None:
    """Load tensors into a network; where that fails, say which do not fit, not where timm or torch noticed it."""
    adapted = tensors
    try:
        adapted = _adapted(tensors, model, network)
        check_fit(adapted, model.state_dict(), strict=False)  # torch would convert what is no weight, a mask say
        model.load_state_dict(adapted)
    except Exception:  # timm's renaming of a stranger's tensors may raise anything
        check_fit(adapted, model.state_dict())
        raise


def _adapted(tensors: Tensors, model: nn.Module, network: str) -> Tensors:
    """Return tensors as a network names and shapes them: timm's modules call what does that by one name."""
    module = sys.modules[timm.model_entrypoint(network).__module__]
    adapt = getattr(module, "checkpoint_filter_fn", None)
    adapted: Tensors = adapt(dict(tensors), model) if adapt else tensors
    return adapted


def _hint(said: str, model: nn.Module, network: str) -> str:
    """Return what to do about a classifier of another number of classes, empty if it is not what does not fit."""
    classifier = getattr(model, "pretrained_cfg", {}).get("classifier")
    found = re.search(rf"^  {classifier}\.weight is (\d+)x(\S+), the network's \d+x\2$", said, re.MULTILINE)
    return f"\nfor weights of {found[1]} classes, name the network as {network}:num_classes={found[1]}" if found else ""


def _few_lines(text: str) -> str:
    lines = [shorten(line, _LONGEST_LINE) for line in text.splitlines()]
    more = len(lines) - _MOST_LINES
    return "\n".join([*lines[:_MOST_LINES], *([f"and {more} more lines"] if more > 0 else [])])
