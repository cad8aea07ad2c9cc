"""A module as a file of ONNX, which most runtimes read: written by torch's exporter, whole or not at all."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from attnbench.runtimes.runtime import CannotRunError

NEEDS = ("onnx", "onnxscript")
"""What torch's exporter needs besides torch."""
WHOLE = "ONNX, whole"
FILE = "model.onnx"
_NO_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'(?:, overload='(\w+)')?\)>")
_MOST = 300
"""Characters of what torch says that are kept."""


def write(model: nn.Module, x: Tensor, folder: Path) -> Path:
    """Export a module for inputs of one shape, and return the file.

    Weights beyond what protobuf can hold, 2 GiB, lie in a file beside it.

    Args:
        model: in evaluation mode.
        x: an input.
        folder: where the files go.

    Raises:
        CannotRunError: it cannot be exported whole; the message names the operator that stops it where there is one.
    """
    path = folder / FILE
    try:
        with quietly(), torch.no_grad():
            program = torch.onnx.export(model, (x,), dynamo=True, verbose=False)
            assert program is not None, "with dynamo there is one"
            program.save(str(path))
    except MemoryError:
        raise
    except Exception as error:
        raise CannotRunError(f"not exported to ONNX: {_why(error)}") from error
    return path


def _why(error: BaseException) -> str:
    """Return what stops an export: the operator that ONNX has not, else what was raised first."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    for each in chain:
        found = _NO_OPERATOR.search(str(each))
        if found:
            return f"it stops at {found[1].replace('.', '::')}, which has no translation"
    said = " ".join(str(chain[-1]).split())
    return f"{type(chain[-1]).__name__}: {said[:_MOST]}" if said else type(chain[-1]).__name__


def is_large(path: Path) -> bool:
    """Return whether the weights of an exported file lie beside it."""
    return path.with_name(f"{path.name}.data").exists()


@contextmanager
def quietly() -> Iterator[None]:
    """Keep exporters from telling what they do: what comes of it is said in the row."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
