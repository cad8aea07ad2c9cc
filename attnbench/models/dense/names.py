"""What the parameters of a network and its head are called by others, and which those of ours are.

Ours are those of ``attnbench.models.dense.model.build``: ``backbone.body.network``, ``backbone.fpn``, and the head's.
torchvision's detectors are of the same parts, and so are called alike. MMSegmentation's Semantic FPN is the same
computation with batch norms. MMDetection's detectors are not: RetinaNet has no activation between its two coarsest
maps there, anchors lie elsewhere, regions are cut out half a pixel aside, and the background is the last class.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from attnbench.errors import DataError
from attnbench.models.dense import DenseTask
from attnbench.models.tensors import Tensors

NETWORK = "backbone.body.network."
"""What the names of a network's own parameters begin with."""
_OURS_OR_TORCHVISION = (
    (r"backbone\.body\.(?!network\.)", NETWORK),
    (r"rpn\.head\.", "rpn_head."),
    (r"roi_heads\.", ""),
)
_MMSEGMENTATION = (
    (r"neck\.lateral_convs\.(\d+)\.conv\.", r"backbone.fpn.inner_blocks.\1.0."),
    (r"neck\.fpn_convs\.(\d+)\.conv\.", r"backbone.fpn.layer_blocks.\1.0."),
    (r"decode_head\.conv_seg\.", "classifier."),
    (r"backbone\.", NETWORK),
)
_STAGE = re.compile(r"decode_head\.scale_heads\.(\d+)\.(\d+)\.(conv|bn|gn)\.(.+)")
"""A convolution or a norm of a branch, between which upsampling counts as a layer."""
_UNUSED = ("auxiliary_head.",)
"""What is trained with and not inferred with."""
_OF_OPENMMLAB = ("neck.", "decode_head.", "bbox_head.", "roi_head.")
HEADS: Mapping[DenseTask, str] = MappingProxyType(
    {
        DenseTask.SEGMENTATION: "Semantic FPN",
        DenseTask.DETECTION: "RetinaNet",
        DenseTask.INSTANCE: "Mask R-CNN",
    }
)
"""What the heads are called where they are told of."""


def as_ours(tensors: Tensors, task: DenseTask) -> Tensors:
    """Return tensors under the names that ours have; what is no name of anybody's stays as it is.

    Raises:
        DataError: they are of a head that computes something else.
    """
    if not any(name.startswith(_OF_OPENMMLAB) for name in tensors):
        return {_first(name, _OURS_OR_TORCHVISION): tensor for name, tensor in tensors.items()}
    if task is not DenseTask.SEGMENTATION:
        raise DataError(
            f"it is named as OpenMMLab's; MMDetection's {HEADS[task]} computes something else than the one here, which "
            "is torchvision's: its anchors, its regions or its coarsest maps differ; give a checkpoint that was "
            "trained with torchvision's"
        )
    used = {name: tensor for name, tensor in tensors.items() if not name.startswith(_UNUSED)}
    return {_of_mmsegmentation(name): tensor for name, tensor in used.items()}


def plain(name: str) -> str:
    """Return what a parameter of a network that gives its maps is called in the network as it classifies.

    timm names a layer of a list ``stages_0`` where it takes networks apart for their maps, or wraps them as ``model``.

    Example:
        >>> plain("layers_2.blocks.0.norm1.weight"), plain("model.stem.weight"), plain("layer1.0.conv1.weight")
        ('layers.2.blocks.0.norm1.weight', 'stem.weight', 'layer1.0.conv1.weight')
    """
    return re.sub(r"^([A-Za-z]\w*?)_(\d+)(?=\.|$)", r"\1.\2", name.removeprefix("model."))


def _of_mmsegmentation(name: str) -> str:
    stage = _STAGE.fullmatch(name)
    if stage:
        level, layer, kind, rest = stage.groups()
        return f"branches.{level}.{int(layer) // 2}.{0 if kind == 'conv' else 1}.{rest}"
    return _first(name, _MMSEGMENTATION)


def _first(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    """Return a name after the first rule that it begins by."""
    for begins, put in rules:
        found = re.match(begins, name)
        if found:
            return found.expand(put) + name[found.end() :]
    return name
