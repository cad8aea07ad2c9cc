"""The tensors of the authors' Flax checkpoints under the names and in the shapes of ``mechanisms.qna.network``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import Tensor

from attnbench.errors import DataError

_BLOCK = re.compile(r"(?:LSA|QnA)Stage_(?P<stage>\d)/(?P<kind>MSA|QnA)_Block_(?P<number>\d+)(?P<stride>_stride_2)?/")
_WITHIN_BLOCK = {
    "LayerNorm_0": "attention.norm",
    "FusedKQnA_0": "attention.attention",
    "MultiHeadSelfAttention_0": "attention",
    "RelativePositionalEmbedding_0": "",
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


def from_flax(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under this package's names, those with unknown names as they are.

    Raises:
        DataError: a tensor needs another one for its shape to be understood, which is not there.
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
    inside = "table" if modules[-1] == "RelativePositionalEmbedding_0" else last.replace("rpe_bias", "bias")
    parts = [_WITHIN_BLOCK.get(part, part) for part in (*modules, inside)]
    return ".".join([place, *filter(None, parts)])


def _tensor(name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    tensor, (parent, _, last) = tensors[name], name.rpartition("/")
    match last:
        case "rpe_bias" if "RelativePositionalEmbedding_0" in parent:
            return _squared(tensor)
        case "rpe_bias" | "attn_scale_weights":
            queries = len(_sibling(f"{parent}/query", name, tensors))
            kernels = _squared(tensor.flatten(0, -2))
            return kernels.reshape(queries, -1, *kernels.shape[1:])
        case "kernel" if parent.endswith("to_qkv"):
            # One column after the other: a head's queries, its keys, its values, then the next head's.
            table = f"{parent.removesuffix('to_qkv')}RelativePositionalEmbedding_0/rpe_bias"
            heads = _sibling(table, name, tensors).shape[-1]
            return tensor.T.reshape(heads, 3, -1, len(tensor)).transpose(0, 1).flatten(0, 2)
        case "kernel" | "Wk":
            return tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.T
        case _:
            return tensor


def _squared(table: Tensor) -> Tensor:
    """Return (k^2, n) as (n, k, k)."""
    side = math.isqrt(len(table))
    return table.T.reshape(-1, side, len(table) // side)


def _sibling(name: str, needed_by: str, tensors: Mapping[str, Tensor]) -> Tensor:
    if name not in tensors:
        raise DataError(f"the checkpoint has {needed_by} but not {name}, without which its layout is unknown")
    return tensors[name]
