"""Weights of a network and its head together, from one file: read as data, held to both, and said which lack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from attnbench.errors import DataError, MisfitError
from attnbench.models.dense import DEFAULT_CLASSES, DenseTask, names
from attnbench.models.dense.features import Features
from attnbench.models.tensors import Tensors, check_fit, read
from attnbench.wording import few

_COUNTED = "num_batches_tracked"
"""Of batch norms: how often they were trained, which nothing that infers depends on, and frozen ones do not have."""
_CLASSIFIERS = {
    DenseTask.SEGMENTATION: ("classifier.bias", 1, 0),
    DenseTask.DETECTION: ("head.classification_head.cls_logits.bias", 9, 0),
    DenseTask.INSTANCE: ("box_predictor.cls_score.bias", 1, 1),
}
"""What has an entry a class: its name, the entries of each class, and those of no class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadWeights:
    """What a checkpoint holds for a head and the network under it, by the names that ours have."""

    path: Path
    task: DenseTask
    network: Tensors
    head: Tensors
    """Pyramid and head."""

    @property
    def batch_norms(self) -> bool:
        """Whether a segmentation head has batch norms where ours has group norms."""
        return any(name.startswith("branches.") and name.endswith("running_mean") for name in self.head)

    def load_head(self, model: nn.Module) -> None:
        """Load pyramid and head into a model, whose network is let be.

        Raises:
            DataError: they do not fit; the message names the tensors.
        """
        wanted = {name: each for name, each in model.state_dict().items() if not name.startswith("backbone.body.")}
        given = _completed(self.head, wanted)
        try:
            check_fit(given, wanted, whose="the head")
        except MisfitError as error:
            raise MisfitError(f"{self.path}: {error}{self._classes()}") from None
        _check_finite(given, self.path)
        model.load_state_dict(given, strict=False)

    def load_network(self, features: Features) -> None:
        """Load the network's weights into one that gives its maps.

        Raises:
            DataError: they do not fit; the message names the tensors.
        """
        wanted = features.network.state_dict()
        known = {name: name if name in self.network else names.plain(name) for name in wanted}
        renamed = {known[name]: name for name in wanted}
        given = _completed({renamed.get(name, name): each for name, each in self.network.items()}, wanted)
        try:
            check_fit(given, wanted)
        except MisfitError as error:
            raise MisfitError(f"{self.path}: {error}") from None
        _check_finite(given, self.path)
        features.network.load_state_dict(given)

    def _classes(self) -> str:
        name, each, none = _CLASSIFIERS[self.task]
        if name not in self.head or self.head[name].ndim != 1:
            return ""
        found, wanted = len(self.head[name]) // each - none, DEFAULT_CLASSES[self.task]
        return f"\nits head is of {found} classes; {wanted} are evaluated" if found != wanted else ""


def load(path: Path, task: DenseTask) -> HeadWeights:
    """Read a checkpoint, whose tensors are named as ours, torchvision's or MMSegmentation's are.

    Raises:
        DataError: it is no checkpoint, of a network alone, or of a head that computes something else.
    """
    tensors = read(path)
    try:
        ours = names.as_ours(tensors, task)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    network = {name.removeprefix(names.NETWORK): each for name, each in ours.items() if name.startswith(names.NETWORK)}
    head = {name: each for name, each in ours.items() if not name.startswith(names.NETWORK)}
    if not network or not head:
        raise DataError(
            f"{path}: nothing in it is called as parameters of a network with a {names.HEADS[task]} are: "
            f"{few(list(tensors))}; give a checkpoint of both, as they were trained together, or evaluate the network "
            "as a classifier, --accuracy folder:PATH"
        )
    return HeadWeights(path=path, task=task, network=network, head=head)


def _completed(given: Tensors, wanted: Tensors) -> Tensors:
    """Return tensors with the counts of batch norms that they may lack."""
    lacking = {name: each for name, each in wanted.items() if name.endswith(_COUNTED) and name not in given}
    return {**lacking, **given}


def _check_finite(given: Tensors, path: Path) -> None:
    for name, each in given.items():
        if each.is_floating_point() and not torch.isfinite(each).all():
            raise DataError(f"{path}: {name} is infinite or not numbers; give the weights of a training that went well")
