"""What OpenVINO's own tool, NNCF, makes of a graph: weights and activations in 8 bits."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from attnbench.runtimes.runtime import CannotRunError

_PRODUCTS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")
_WRAPPED = ("Transpose", "Reshape", "Convert")
"""What may stand between a product and what quantises its operands."""
_SILENT = "NNCF_CI"
"""With this variable set where it is imported, NNCF sends nobody a report of its use."""


class QuantizedGraph(NamedTuple):
    """A graph of OpenVINO's with operators that quantise, and what was done in words."""

    graph: Any
    said: str


def quantized(graph: Any, samples: Sequence[Tensor]) -> QuantizedGraph:  # noqa: ANN401 - the package is an extra
    """Return a graph quantised after training, as NNCF's documentation advises for models with attention.

    Raises:
        CannotRunError: nothing of it is quantised.
    """
    nncf, graph = _nncf(), _ready(graph)
    arrays = [sample.numpy() for sample in samples]
    found = nncf.quantize(graph, nncf.Dataset(arrays), subset_size=len(arrays), model_type=nncf.ModelType.TRANSFORMER)
    return QuantizedGraph(found, _said(found, len(arrays)))


def _ready(graph: Any) -> Any:  # noqa: ANN401
    """Return a graph in which NNCF finds its way.

    As it is read a branch shares constants with what is around it, where NNCF misses nodes; and weights may be
    constants of another shape than their product's, by whose axes NNCF smooths them all the same.
    """
    from openvino.passes import ConstantFolding, Manager  # noqa: PLC0415 - an extra

    own, passes = graph.clone(), Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(own)
    return own


def _nncf() -> Any:  # noqa: ANN401
    before = os.environ.get(_SILENT)
    os.environ[_SILENT] = "1"
    try:
        import nncf  # noqa: PLC0415 - an extra
    finally:
        if before is None:
            del os.environ[_SILENT]
    nncf.set_log_level(logging.ERROR)
    return nncf


def _said(graph: Any, samples: int) -> str:  # noqa: ANN401
    products = [each for each in _operators(graph) if each.get_type_name() in _PRODUCTS]
    done = [each for each in products if all(_is_quantized(operand) for operand in _operands(each))]
    if not done:
        raise CannotRunError("OpenVINO does not quantise it: it has no product of 8 bits")
    return f"int8: {len(done)} of {len(products)} products, ranges from {samples} inputs"


def _operators(graph: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield the operators of a graph and of the branches in it."""
    for each in graph.get_ordered_ops():
        yield each
        if each.get_type_name() == "If":
            for branch in (0, 1):
                yield from _operators(each.get_function(branch))


def _operands(product: Any) -> list[Any]:  # noqa: ANN401
    return [product.input_value(index).get_node() for index in (0, 1)]


def _is_quantized(node: Any) -> bool:  # noqa: ANN401
    while node.get_type_name() in _WRAPPED:
        node = node.input_value(0).get_node()
    return node.get_type_name() == "FakeQuantize" or _is_of_bytes(node)


def _is_of_bytes(node: Any) -> bool:  # noqa: ANN401
    """Return whether a node turns bytes into numbers: weights are kept in 8 bits and multiplied by their scale."""
    while node.get_input_size():
        node = node.input_value(0).get_node()
        if node.get_type_name() == "Constant":
            return bool(node.get_element_type().size == 1)
        if node.get_type_name() not in {"Multiply", "Subtract", *_WRAPPED}:
            return False
    return False
