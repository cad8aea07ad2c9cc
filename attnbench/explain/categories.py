"""THE table of what operators and kernels do, by their names; the first row that fits counts. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attnbench.explain.profiles import CallProfile

PRODUCTS, CONVOLUTIONS, ATTENTION = "matrix products", "convolutions", "softmax and attention kernels"
COPIES, VIEWS, NORMS = "copies and layout changes", "views and allocations", "norms"
ELEMENTWISE, INDEXING = "elementwise and reductions", "indexing"
COMPILED, OTHER = "compiled code", "other"
PYTHON, WAITING, BETWEEN = "Python between operators", "waiting for the host", "the runtime between operators"

_TABLE: Final[Mapping[str, str]] = {
    COMPILED: r"^triton_|^cpp_fused|^subgraph$|torch-compiled region|compiledfxgraph|compiledfunction",
    ATTENTION: r"softmax|attention|flash|fmha|mha_(fwd|bwd)",
    CONVOLUTIONS: r"conv(?!ert)|im2col|col2im|winograd|implicit_gemm|depthwise|unfold_backward|wgrad|dgrad",
    PRODUCTS: r"mkldnn_linear|gemm|^(fused)?matmul|fullyconnected|"
    r"\b(addmm|mm|bmm|baddbmm|addbmm|matmul|linear|einsum|dot|mv|addmv)\b|"
    r"(addmm|matmul)_|cublas|cutlass|xmma|gemv|splitk",
    NORMS: r"^(mvn|rms)$|"
    r"(layer|batch|group|instance|rms)_?norm|\bnorm\b|weight_norm|linalg_vector_norm|_norm\b|bn_fw|bn_bw",
    VIEWS: r"^aten::(as_strided_?|view\w*|_unsafe_view|_reshape_alias|reshape|expand\w*|transpose_?|permute|movedim|t|"
    r"slice|narrow|select|(un)?squeeze_?|split\w*|chunk|unbind|flatten|unflatten|alias|detach_?|unfold|empty\w*|"
    r"resize_?|lift_fresh|numpy_t)$|^detach_?$",
    COPIES: r"memcpy|memset|copy|clone|contiguous|\bto\b|\bcat\b|catarray|stack|reorder|nchw|nhwc|transpose|permute|"
    r"^(reshape|slice|stridedslice|split|variadicsplit|concat|expand|broadcast|unsqueeze|squeeze|tile)$|"
    r"\bpad\b|_pad|\broll\b|roll_|repeat|fill|zero|\bones",
    INDEXING: r"index|gather|scatter|\btake|embedding|masked|\bwhere\b|topk|sort|grid_sampler|upsample|interpolate|"
    r"\bnonzero\b",
    ELEMENTWISE: r"elementwise|eltwise|reduce|^erf$|gelu|"
    r"\b(sum|mean|var|max|min|amax|amin|aminmax|any|all|argmax|cumsum|add|sub|rsub|mul|"
    r"div|neg|exp|exp2|log|sqrt|rsqrt|pow|square|abs|sin|cos|tanh|sigmoid|gelu|relu|elu|silu|softplus|hardtanh|clamp|"
    r"clamp_min|clamp_max|maximum|minimum|reciprocal|dropout|bernoulli|lerp|addcmul|addcdiv|eq|ne|lt|le|gt|ge|sign|"
    r"floor|ceil|round|remainder|threshold)_?(_backward)?\b",
}
"""In the order in which they are asked, by patterns of names in lower case."""
_PATTERNS: Final = {category: re.compile(pattern) for category, pattern in _TABLE.items()}
CATEGORIES: Final = (
    *(PRODUCTS, CONVOLUTIONS, ATTENTION, COPIES, VIEWS, NORMS, ELEMENTWISE, INDEXING, COMPILED, OTHER),
    *(PYTHON, WAITING, BETWEEN),
)
"""In the order in which they are shown."""


def category(name: str) -> str:
    """Return what an operator or a kernel does, by its name.

    Example:
        >>> category("aten::addmm"), category("aten::copy_"), category("ampere_sgemm_64x32_sliced1x4_nt")
        ('matrix products', 'copies and layout changes', 'matrix products')
    """
    plain = name.lower()
    return next((found for found, pattern in _PATTERNS.items() if pattern.search(plain)), OTHER)


def seconds(profile: CallProfile) -> dict[str, float]:
    """Return the seconds of a call by category, in the order in which they are shown; those that take none left out."""
    found = dict.fromkeys(CATEGORIES, 0.0)
    for each in profile.operators:
        found[category(each.name)] += each.self_s
    found[WAITING if profile.on_device else BETWEEN if profile.by_runtime else PYTHON] += profile.rest_s
    return {name: value for name, value in found.items() if value > 0}


def launches(profile: CallProfile) -> dict[str, float]:
    """Return how many operators or kernels of each category run in a call."""
    found = dict.fromkeys(CATEGORIES, 0.0)
    for each in profile.operators:
        found[category(each.name)] += each.launches
    return found
