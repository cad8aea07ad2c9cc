"""ONNX Runtime's own tool, set as its documentation advises: weights and activations of a graph in 8 bits."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from attnbench.devices import machine
from attnbench.runtimes import onnx
from attnbench.runtimes.runtime import CannotRunError

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_X86 = ("x86_64", "AMD64", "i386", "i686")
_PROPAGATION = "QDQPropagationTransformer"
"""Takes 8 bits past what moves values about. Where that leads into a branch it reads beyond a list and ends the process
(seen in ONNX Runtime 1.32); it is left out of such graphs, in which some reshapes are then of float32."""


class QuantizedFile(NamedTuple):
    """A file of ONNX with operators that quantise, what was done in words, and what is not to be done to it.

    Example:
        >>> QuantizedFile(Path("int8.onnx"), "int8: 2 of 2 products").left_out
        ()
    """

    path: Path
    said: str
    left_out: tuple[str, ...] = ()
    """Names of optimisations that a session with it must do without."""


class _Samples:
    """What the tool asks for inputs: one at a time, then None."""

    def __init__(self, name: str, samples: Sequence[Tensor]) -> None:
        self._left: Iterator[Tensor] = iter(samples)
        self._name = name

    def get_next(self) -> dict[str, object] | None:
        """Return the next input by the name that the graph has for it."""
        sample = next(self._left, None)
        return None if sample is None else {self._name: sample.numpy()}


def write(path: Path, samples: Sequence[Tensor]) -> QuantizedFile:
    """Quantise a graph beside its file.

    Products and convolutions are quantised. Sums, norms and softmax stay in float32, as in OpenVINO's setting for
    models with attention: with them, which the tool takes as well by itself, answers of mhsa were 22 dB noisier.
    Ranges of activations are the smallest and largest values for the samples; a tensor has one scale. How bytes are
    summed is up to the processor: see ``quantize_static``, "Choosing parameters for CPU inference". What a branch, an
    If, has within stays in float32: the tool does not look into it.

    Raises:
        CannotRunError: nothing of it is quantised.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # noqa: PLC0415 - an extra
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    graph = _graph(path)
    ready, found = path.with_name("ready.onnx"), path.with_name("int8.onnx")
    large, x86 = onnx.is_large(path), platform.machine() in _X86
    with onnx.quietly():
        # Shapes are known: the exporter has written them, so that no symbols need to be followed.
        quant_pre_process(path, ready, skip_symbolic_shape=True, save_as_external_data=large)
        quantize_static(
            ready,
            found,
            _Samples(graph.input[0].name, samples),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_PRODUCTS),
            activation_type=QuantType.QUInt8 if x86 else QuantType.QInt8,
            weight_type=QuantType.QInt8,
            reduce_range=x86 and not machine.has_vnni(),
            use_external_data_format=large,
        )
    branched = any(node.op_type == "If" for node in graph.node)
    return QuantizedFile(found, _said(found, len(samples)), (_PROPAGATION,) if branched else ())


def _graph(path: Path) -> Any:  # noqa: ANN401 - the package is an extra
    import onnx as format_  # noqa: PLC0415 - an extra

    return format_.load(path, load_external_data=False).graph


def _said(path: Path, samples: int) -> str:
    nodes = list(_nodes(_graph(path)))
    made = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    products = [node for node in nodes if node.op_type in _PRODUCTS]
    done = [node for node in products if all(name in made for name in node.input[:2])]
    if not done:
        raise CannotRunError("ONNX Runtime does not quantise it: it has no product of 8 bits")
    of = Counter(node.op_type for node in done)
    listed = ", ".join(f"{count} {name}" for name, count in sorted(of.items()))
    return f"int8: {len(done)} of {len(products)} products ({listed}), ranges from {samples} inputs"


def _nodes(graph: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield the nodes of a graph and of the branches in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from _nodes(attribute.g)
