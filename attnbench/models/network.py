"""What timm expects of a network, once for the published networks of all mechanisms.

A network is a stem and stages; a stage shrinks the map and runs blocks on it. Between them goes the map, (B, H, W, C),
and what the mechanisms carry. The networks themselves are in ``mechanisms/*/network.py``, which register them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from attnbench.mechanism import Map
from attnbench.models.blocks import linear_head
from attnbench.models.tensors import check_fit, read

Images: TypeAlias = Float[Tensor, "batch channels image_height image_width"]
Feature: TypeAlias = Float[Tensor, "batch dim height width"]
Level: TypeAlias = Float[Tensor, "batch _ _ _"]
"""One of several maps, each of its own channels, height and width."""
Shrunk: TypeAlias = Float[Tensor, "batch new_height new_width new_dim"]
"""What is left of a map (batch, height, width, dim) by layers that may change all but the batch."""
Pooled: TypeAlias = Float[Tensor, "batch _"] | Level

STRIDES = (4, 8, 16, 32)
"""Image pixels per token along a side, in the stages."""
NOMINAL = (224, 224)
"""Height and width of the images that networks of any image size are described for."""


class PyramidNetwork(nn.Module, ABC):
    """Four stages of attention blocks and a classifier, with the methods that timm's own networks have.

    Subclasses build ``stages`` modules under a name of their own, and the classifier under ``classifier_name``.
    """

    classifier_name: ClassVar[str] = "head"
    """Where the classifier is, a linear layer or, without classes, the identity."""
    stages_name: ClassVar[str] = "stages"
    """Where the list of stages is."""
    undecayed: ClassVar[tuple[str, ...]] = ()
    """Ends of the names of parameters that weight decay leaves alone, as in the authors' training."""

    def __init__(
        self, dims: Sequence[int], *, in_chans: int, num_classes: int, global_pool: str, drop_rate: float
    ) -> None:
        """Set what timm reads.

        Args:
            dims: channels of each stage.
            in_chans: channels of an image.
            num_classes: classes; 0 for pooled features instead of logits.
            global_pool: ``avg``, or empty for a map instead of a vector.
            drop_rate: dropout before the classifier.

        Raises:
            ValueError: another kind of pooling.
        """
        super().__init__()
        self.in_chans, self.num_classes, self.drop_rate = in_chans, num_classes, drop_rate
        self.num_features = self.head_hidden_size = dims[-1]
        self.global_pool = _checked_pool(global_pool)
        self.grad_checkpointing = False
        self.norm: nn.Module = nn.Identity()
        self.feature_info: list[dict[str, Any]] = [
            {"num_chs": dim, "reduction": stride, "module": f"{self.stages_name}.{index}"}
            for index, (dim, stride) in enumerate(zip(dims, STRIDES, strict=True))
        ]

    @abstractmethod
    def embed(self, images: Images) -> Map:
        """Return the tokens that the first stage starts from, (B, ceil(H / 4), ceil(W / 4), C)."""

    @abstractmethod
    def stage(self, index: int, x: Map, carry: Any) -> tuple[Shrunk, Any]:  # noqa: ANN401 - the mechanism's own
        """Return the map after a stage, shrunk first in all but the first one, and what the mechanisms carry."""

    @abstractmethod
    def running(self, index: int) -> Sequence[nn.Module]:
        """Return the modules of a stage in the order in which they run."""

    def through(self, blocks: Iterable[nn.Module], x: Map, carry: Any) -> tuple[Shrunk, Any]:  # noqa: ANN401
        """Return the map and the carry after blocks, recomputed in the backward pass if that is switched on."""
        for block in blocks:
            run = partial(checkpoint, block, use_reentrant=False) if self.grad_checkpointing else block
            x, carry = run(x, carry)
        return x, carry

    def forward(self, images: Images) -> Pooled:
        """Return logits, (B, classes), for images of (B, channels, H, W)."""
        return self.forward_head(self.forward_features(images))

    def forward_features(self, images: Images) -> Feature:
        """Return the normed map of the last stage, (B, C, ceil(H / 32), ceil(W / 32))."""
        x, carry = self.embed(images), None
        for index in range(len(self._stages())):
            x, carry = self.stage(index, x, carry)
        return _channels_first(self.norm(x))

    def forward_head(self, x: Feature, pre_logits: bool = False) -> Pooled:
        """Return logits for the map that ``forward_features`` returns, or what the classifier would be given."""
        if self.global_pool:
            x = x.mean((2, 3))
        x = F.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.get_classifier()(x)

    def forward_intermediates(  # noqa: PLR0917 - timm's signature
        self,
        images: Images,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Level] | tuple[Feature, list[Level]]:
        """Return the maps after some stages, and before them the last one that was made, normed if it is the network's.

        Args:
            images: (B, channels, H, W).
            indices: stages whose maps to return, from 0; a number for the last so many, None for all.
            norm: apply the final norm to the last stage's map among them.
            stop_early: run no stage after the last one asked for.
            output_fmt: ``NCHW``, the only one there is.
            intermediates_only: leave the final map out.

        Raises:
            ValueError: another format, or a stage that there is not.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt must be NCHW, got {output_fmt}")
        stages = len(self._stages())
        wanted = _taken(indices, stages)
        x, carry, maps = self.embed(images), None, []
        run = max(wanted) + 1 if stop_early or intermediates_only else stages
        for index in range(run):
            x, carry = self.stage(index, x, carry)
            if index in wanted:
                normed = norm and index == stages - 1
                maps.append(_channels_first(self.norm(x) if normed else x))
        return maps if intermediates_only else (_channels_first(self.norm(x) if run == stages else x), maps)

    def prune_intermediate_layers(
        self,
        indices: int | Sequence[int] = 1,
        prune_norm: bool = False,
        prune_head: bool = True,
    ) -> list[int]:
        """Remove what the maps after some stages do not need, and return the indices of these stages."""
        stages = self._stages()
        wanted = _taken(indices, len(stages))
        last = max(wanted)
        cut = last + 1 < len(stages)
        if cut:
            self.keep_stages(last + 1)
            self.num_features = self.head_hidden_size = self.feature_info[last]["num_chs"]
        if prune_norm or cut:
            self.norm = nn.Identity()
        if prune_head or cut:
            self.reset_classifier(0, "")
        return wanted

    def keep_stages(self, count: int) -> None:
        """Remove the stages after the first so many."""
        self.set_submodule(self.stages_name, self._stages()[:count])

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer."""
        return self.get_submodule(self.classifier_name)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a new one, or by none for 0 classes.

        Raises:
            ValueError: another kind of pooling than ``avg`` or empty.
        """
        if global_pool is not None:
            self.global_pool = _checked_pool(global_pool)
        self.num_classes = num_classes
        like = next(self.parameters())
        new = linear_head(self.num_features, num_classes).to(device=like.device, dtype=like.dtype)
        self.set_submodule(self.classifier_name, new)

    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters that weight decay must not touch, beside those of one dimension."""
        names = [name for name, _ in self.named_parameters()]
        return {name for name in names if any(f".{name}".endswith(f".{end}") for end in self.undecayed)}

    def group_matcher(self, coarse: bool = False) -> Callable[[str], tuple[int | float, ...]]:
        """Return what gives a parameter's place in the order of running, for learning rates that differ by depth.

        Args:
            coarse: tell stages apart, not what runs one after the other within them.
        """
        running = [(index, self.running(index)) for index in range(len(self._stages()))]
        places: dict[int, tuple[int | float, ...]] = {
            id(module): (index, step) for index, modules in running for step, module in enumerate(modules)
        }
        prefixes = {f"{name}.": places[id(module)] for name, module in self.named_modules() if id(module) in places}
        prefixes |= {f"{self.stages_name}.{index}.": (index, 0) for index, _ in running}
        prefixes |= dict.fromkeys((f"{self.classifier_name}.", "norm."), (math.inf, 0))

        def place(parameter: str) -> tuple[int | float, ...]:
            found = next((at for prefix, at in prefixes.items() if parameter.startswith(prefix)), (-1, 0))
            return found[:1] if coarse else found

        return place

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep only the blocks' inputs for the backward pass, or everything again."""
        self.grad_checkpointing = enable

    def renamed(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Return the tensors of an authors' checkpoint as this network names and shapes them; its own as they are."""
        return dict(tensors)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:  # noqa: ANN401
        """Load tensors under this network's names or its authors'.

        Raises:
            DataError: they do not fit; nothing was loaded.
        """
        tensors = self.renamed(state_dict)
        check_fit(tensors, self.state_dict(), strict=strict)
        return super().load_state_dict(tensors, strict=strict, assign=assign)

    def load_pretrained(self, checkpoint_path: str | Path) -> None:
        """Load a checkpoint file of any kind that ``attnbench.models.tensors`` reads, whatever its name.

        Raises:
            DataError: the file cannot be read, or does not fit.
        """
        self.load_state_dict(read(checkpoint_path))

    def _stages(self) -> nn.ModuleList:
        stages = self.get_submodule(self.stages_name)
        assert isinstance(stages, nn.ModuleList)
        return stages


def _taken(indices: int | Sequence[int] | None, stages: int) -> list[int]:
    """Return the stages that timm's ``indices`` mean."""
    if isinstance(indices, int):
        indices = range(-indices, 0)
    taken = [*range(stages)] if indices is None else [index + stages if index < 0 else index for index in indices]
    if not taken or not all(0 <= index < stages for index in taken):
        raise ValueError(f"indices must name some of {stages} stages, got {indices}")
    return taken


def _channels_first(x: Map) -> Feature:
    return x.permute(0, 3, 1, 2)


def _checked_pool(global_pool: str) -> str:
    if global_pool not in {"", "avg"}:
        raise ValueError(f"global_pool must be 'avg' or empty, got {global_pool!r}")
    return global_pool
