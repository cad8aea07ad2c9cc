"""The tensors of the authors' Flax checkpoints, in the names and shapes of ``attnbench.mechanisms.qna.network``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from attnbench.errors import DataError
from attnbench.models.tensors import shape_text

_BLOCK = re.compile(r"(?:LSA|QnA)Stage_(?P<stage>\d)/(?P<kind>MSA|QnA)_Block_(?P<number>\d\d?)(?P<stride>_stride_2)?/")
_TABLE = "RelativePositionalEmbedding_0"
_WITHIN_BLOCK = {
    "LayerNorm_0": "attention.norm",
    "FusedKQnA_0": "attention.attention",
    "MultiHeadSelfAttention_0": "attention",
    _TABLE: "",
    "LayerNorm_1": "mlp.norm",
    "MlpBlock_0": "mlp",
    "Dense_0": "fc1",
    "Dense_1": "fc2",
    "Conv_0": "skip",
    "to_qkv": "qkv",
    "to_v": "value",
    "to_out": "proj",
    "Wk": "key",
    "attn_scale_weights": "scale",
    "kernel": "weight",
    "scale": "weight",
}
_AROUND_BLOCKS = {
    "StemBlock_0/conv_1x1/kernel": "stem.weight",
    "ClassificationHead_0/LayerNorm_0/scale": "norm.weight",
    "ClassificationHead_0/LayerNorm_0/bias": "norm.bias",
    "ClassificationHead_0/head_logits/kernel": "head.weight",
    "ClassificationHead_0/head_logits/bias": "head.bias",
}


def from_flax(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors under this package's names, those with unknown names as they are.

    Raises:
        DataError: a tensor's shape cannot be understood, or needs another one that is not there.
    """
    return {_name(name): _tensor(name, tensors) for name in tensors}


def _name(name: str) -> str:
    found = _BLOCK.match(name)
    if not found:
        return _AROUND_BLOCKS.get(name, name)
    stage, number = int(found["stage"]), int(found["number"]) - 1
    if found["stride"]:
        place = f"stages.{stage + 1}.shrink"
    else:
        place = f"stages.{stage}.{'local' if found['kind'] == 'MSA' else 'learned'}.{number}"
    *modules, last = name[found.end() :].split("/")
    inside = "table" if modules[-1:] == [_TABLE] else last.replace("rpe_bias", "bias")
    parts = [_WITHIN_BLOCK.get(part, part) for part in (*modules, inside)]
    return ".".join([place, *filter(None, parts)])


def _tensor(name: str, tensors: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a tensor, or what a file has in place of it
    tensor, (parent, _, last) = tensors[name], name.rpartition("/")
    if not isinstance(tensor, Tensor):  # which is said where its name is compared with the network's
        return tensor
    match last:
        case "rpe_bias" if parent.endswith(_TABLE):
            return _squared(name, tensor)
        case "rpe_bias" | "attn_scale_weights":
            return _kernels(name, tensor, queries=_rows(f"{parent}/query", name, tensors))
        case "kernel" if parent.endswith("to_qkv"):
            table = f"{parent.removesuffix('to_qkv')}{_TABLE}/rpe_bias"
            return _projection(name, tensor, heads=_squared(table, _sibling(table, name, tensors)).shape[0])
        case "kernel" | "Wk":
            _need(tensor.ndim in {2, 4}, name, tensor, "inputs x outputs, after height x width in a convolution")
            return tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.T
        case _:
            return tensor


def _squared(name: str, table: Tensor) -> Tensor:
    """Return (k^2, n) as (n, k, k)."""
    side = math.isqrt(len(table)) if table.ndim else 0
    _need(table.ndim == 2 and side**2 == len(table), name, table, "the square of a side x columns")
    return table.T.reshape(table.shape[1], side, side)


def _kernels(name: str, tensor: Tensor, queries: int) -> Tensor:
    """Return (..., k^2, queries * heads) as (queries, heads, k, k)."""
    side, columns = (math.isqrt(tensor.shape[-2]), tensor.shape[-1]) if tensor.ndim >= 2 else (0, 0)
    expected = f"the square of a side x a multiple of {queries}, as many as queries"
    whole = tensor.numel() == side**2 * columns
    _need(tensor.ndim >= 2 and whole and columns % max(queries, 1) == 0, name, tensor, expected)
    return tensor.reshape(side**2, columns).T.reshape(queries, -1, side, side)


def _projection(name: str, tensor: Tensor, heads: int) -> Tensor:
    """Return (C, 3 C') as (3 C', C).

    Columns are a head's queries, its keys, its values, then the next head's; rows are all queries, keys, values.
    """
    expected = f"inputs x a multiple of {3 * heads}, three times as many as heads"
    _need(tensor.ndim == 2 and tensor.shape[-1] % max(3 * heads, 1) == 0, name, tensor, expected)
    return tensor.T.reshape(heads, 3, -1, len(tensor)).transpose(0, 1).flatten(0, 2)


def _sibling(name: str, needed_by: str, tensors: Mapping[str, Any]) -> Tensor:
    found = tensors.get(name)
    if not isinstance(found, Tensor):
        raise DataError(f"the checkpoint has {needed_by} but not {name}, without which its layout is unknown")
    return found


def _rows(name: str, needed_by: str, tensors: Mapping[str, Any]) -> int:
    tensor = _sibling(name, needed_by, tensors)
    _need(tensor.ndim == 2, name, tensor, "queries x channels")
    return len(tensor)


def _need(holds: bool, name: str, tensor: Tensor, expected: str) -> None:
    # Tensors without elements have the shape of any layout.
    if not holds or not tensor.numel():
        raise DataError(f"{name} of the checkpoint is {shape_text(tensor)}, expected {expected}")
