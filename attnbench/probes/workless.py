"""Operators that multiply and add nothing worth counting: what no count of multiply-adds includes.

Elementwise work, reductions, norms, softmax, pooling, and everything that makes, moves or reshapes data. What is in
no class here and has no formula either is reported as uncounted: interpolation, Fourier transforms, scans, sorting,
operators of third parties.
"""

from __future__ import annotations

from typing import Any

import torch

_ELEMENTWISE = """
    celu clamp dropout elu floor_divide gelu glu hardshrink hardsigmoid hardswish hardtanh leaky_relu log_sigmoid
    mish native_dropout prelu relu relu6 rrelu rsub selu silu softplus softshrink square tanhshrink threshold where
"""
_REDUCTIONS = """
    all amax amin aminmax any argmax argmin count_nonzero linalg_vector_norm logsumexp max mean median min norm prod std
    std_mean sum var var_mean
"""
_NORMS = """
    batch_norm cudnn_batch_norm fused_rms_norm group_norm instance_norm layer_norm local_response_norm log_softmax
    miopen_batch_norm native_batch_norm native_batch_norm_legit native_batch_norm_legit_no_training
    native_group_norm native_layer_norm normalize rms_norm safe_softmax softmax weight_norm
    weight_norm_interface
"""
_POOLING = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d avg_pool1d avg_pool2d max_pool1d
    max_pool2d max_pool2d_with_indices
"""
_MOVES = """
    as_strided block_diag cat channel_shuffle clone col2im constant_pad_nd contiguous copy diag_embed embedding
    expand_as flip gather im2col index index_copy index_fill index_put index_select lift_fresh lift_fresh_copy
    masked_fill masked_scatter native_channel_shuffle pad pixel_shuffle pixel_unshuffle reflection_pad1d
    reflection_pad2d repeat repeat_interleave replication_pad1d replication_pad2d reshape_as resize roll rot90 scatter
    select_scatter slice_scatter stack take take_along_dim to_copy tril triu unsafe_chunk unsafe_index unsafe_split
    unsafe_split_with_sizes unsafe_view upsample_nearest1d upsample_nearest2d upsample_nearest_exact2d
"""
_MAKES = """
    empty_like fill full_like local_scalar_dense new_empty new_empty_strided new_full new_ones new_zeros nonzero one_hot
    ones_like rand_like randn_like zero zeros_like
"""
MOVES = frozenset(_MOVES.split())
"""What puts what it is given elsewhere, or parts of it."""
_NAMES = frozenset(" ".join([_ELEMENTWISE, _REDUCTIONS, _NORMS, _POOLING, _MOVES, _MAKES]).split())
_TAGS = frozenset(getattr(torch.Tag, name) for name in ("pointwise", "reduction") if hasattr(torch.Tag, name))


def is_workless(func: Any) -> bool:  # noqa: ANN401 - an overload of an operator
    """Whether an operator does nothing that a count of multiply-adds includes."""
    schema = func._schema  # noqa: SLF001 - the only place where an operator says what it takes
    takes_tensors = any("Tensor" in str(argument.type) for argument in schema.arguments)
    return func.is_view or not takes_tensors or is_workless_kind(func.name())


def is_workless_kind(kind: str) -> bool:
    """Whether the operator that a trace calls by this name, such as ``aten::add_``, is in one of the classes."""
    namespace, _, rest = kind.partition("::")
    name = rest.partition(".")[0]
    if namespace not in {"aten", "prims"}:
        return False
    packet = getattr(getattr(torch.ops, namespace), name, None)
    overloads = [getattr(packet, each) for each in packet.overloads()] if packet else []
    return name.strip("_") in _NAMES or any(_TAGS & set(overload.tags) for overload in overloads)
