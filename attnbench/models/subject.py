"""From a cell to what is measured: the module, its input, and what is known of them before anything is built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from attnbench.axes import INT8
from attnbench.errors import PluginError
from attnbench.mechanism import Macs, Mechanism, Site
from attnbench.models import backbone, dense, networks
from attnbench.models.pyramid import SWIN_T_SIZED
from attnbench.plugins import options
from attnbench.plugins.adapted import Adapted
from attnbench.plugins.registry import Registry, discover
from attnbench.probes.weightless import Inputs, build_on_meta
from attnbench.record import Cell, Mode, Scope

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, INT8: torch.float32}
"""The type that a module is built in: what is quantised is given to what quantises it in float32."""
OVERWRITES = (
    "it overwrites the map that it is called with, which the block adds to the result; write into a copy: "
    "x = x * 0.7 instead of x *= 0.7"
)
CLASSES = 1000
"""Classes of the head, as in ImageNet-1K."""
_NO_NUMBERS = ("meta tensor", "cannot be accessed from triton")
"""What torch and Triton say, in lower case, of reading a tensor that holds no numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject(ABC):
    """What a cell measures, before anything is built."""

    cell: Cell
    _on_meta: list[tuple[nn.Module, Inputs]] = field(default_factory=list, init=False, repr=False, compare=False)

    def on_meta(self) -> tuple[nn.Module, Inputs]:
        """Return the module without data, of the cell's type, and its input: built once, for all that look at it.

        Whoever takes it sets its mode, and leaves its parameters as they were.

        Raises:
            Exception: whatever a stranger's constructor raises.
        """
        if not self._on_meta:
            self._on_meta.append(build_on_meta(lambda: (cast(self.build(), self.cell.dtype), (self.example(),))))
        return self._on_meta[0]

    @abstractmethod
    def why_unsupported(self) -> str | None:
        """Say why the module cannot be built, or None if it can."""

    @abstractmethod
    def build(self) -> nn.Module:
        """Build the module on the default device, in float32, in the cell's mode."""

    @abstractmethod
    def closed_form(self) -> tuple[int, Macs] | None:
        """Return the multiply-adds per image by closed form, all and those of the mechanism; None if there is none."""

    @abstractmethod
    def adaptation(self) -> str:
        """Return what is done to maps that do not fit, each kind once; empty if nothing is."""

    def seen_in_calls(self, model: nn.Module) -> tuple[str, str]:  # noqa: ARG002 - for those that have to look
        """Return what only calls of a built model show: why it cannot be measured, and what is done to its map."""
        return "", ""

    def seen_in_small(self) -> str:
        """Return what few small calls show of why it cannot be measured, before it is built; empty for nothing."""
        return ""

    @property
    def layers(self) -> int:
        """By how many layers the figures are divided: layer scope reports the mean layer of its stack."""
        return 1

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images in pixels, as the module gets them: padded where the cell says so."""
        divisor = self.cell.size_divisor or 1
        height, width = (-(-side // divisor) * divisor for side in (self.cell.height, self.cell.width))
        return height, width

    def example(self) -> Tensor:
        """Return an input of the cell's shape and dtype on the default device, (B, 3, H, W)."""
        return torch.randn(self.cell.batch, 3, *self.image_size).to(DTYPES[self.cell.dtype])


@dataclass(frozen=True, slots=True, kw_only=True)
class MechanismSubject(Subject):
    """A backbone or a stack of layers of one mechanism."""

    mechanism: type[Mechanism]

    @property
    def stages(self) -> list[list[Site]]:
        """The sites of every stage."""
        cell = self.cell
        if cell.scope is Scope.BACKBONE:
            return backbone.sites(SWIN_T_SIZED, cell.height, cell.width, shrinks=self._layers.shrinks)
        return [backbone.down(_sites_of_a_stack(cell), self._layers.shrinks)]

    @property
    def _layers(self) -> backbone.LayersOf:
        return backbone.LayersOf(mechanism=self.mechanism, options=self.cell.options)

    def why_unsupported(self) -> str | None:
        """Say why the mechanism cannot be built at one of the sites, or None if it can at all of them."""
        cell, backends = self.cell, options.choices(self.mechanism, "backend")
        backend = cell.options.get("backend")
        if backend is not None and backend not in backends:
            has = f"it has {', '.join(backends)}" if backends else "it has one implementation only"
            return f"{cell.mechanism} has no backend {backend!r}; {has}"
        if cell.mode is Mode.TRAIN and not self.mechanism.trains:
            return "it only infers: trains is False"
        if cell.mode is Mode.TRAIN and backend in self.mechanism.infers_only:
            return f"backend {backend!r} only infers"
        if cell.scope is Scope.BACKBONE:
            reason = self._layers.why_no_backbone(SWIN_T_SIZED, cell.height, cell.width)
            if reason:
                return reason
        for site in chain.from_iterable(self.stages):
            reason = self.mechanism.why_unsupported(site, **cell.options)
            if reason:
                return f"at {site.height}x{site.width} tokens, dim {site.dim}: {reason}"
        return None

    def build(self) -> nn.Module:
        """Build the backbone or the stack."""
        cell, layer = self.cell, self._layers
        model: nn.Module
        if cell.scope is Scope.BACKBONE:
            model = backbone.Backbone(layer, height=cell.height, width=cell.width, classes=CLASSES)
        else:
            model = backbone.Stack([layer(site) for site in self.stages[0]])
        return model.train(cell.mode is Mode.TRAIN)

    def closed_form(self) -> tuple[int, Macs] | None:
        """Add up the layers' closed forms and what stands around them; None if the mechanism has no closed form."""
        each = [self.mechanism.macs(site, **self.cell.options) for site in chain.from_iterable(self.stages)]
        given = [macs for macs in each if macs is not None]
        if len(given) < len(each):
            return None
        layers = sum(given, Macs(projections=0, attention=0))
        if self.cell.scope is not Scope.BACKBONE:
            return layers.total, layers

        def mlp_tokens(site: Site) -> int:
            return self.mechanism.mlp_tokens(site, **self.cell.options)

        around = backbone.macs_around(self.stages, classes=CLASSES, mlp_tokens=mlp_tokens, shrinks=self._layers.shrinks)
        return layers.total + around, layers

    def adaptation(self) -> str:
        """Ask the mechanism at every site."""
        sites = chain.from_iterable(self.stages)
        said = (self.mechanism.adaptation(site, **self.cell.options) for site in sites)
        return "; ".join(dict.fromkeys(text for text in said if text))

    def seen_in_calls(self, model: nn.Module) -> tuple[str, str]:
        """Look at a layer of somebody else's, which says nothing itself, at the first site.

        Raises:
            PluginError: it overwrites what it is called with.
        """
        layer = next((each for each in model.modules() if isinstance(each, Adapted)), None)
        if layer is None:
            return "", ""
        asked = self.stages[0][0], self.cell.options
        wrong = layer.why_no_layer_of_maps(*asked)
        if not wrong and layer.overwrites(self._one_map(layer)):
            raise PluginError(OVERWRITES)
        return wrong, "" if wrong else layer.rows_said(*asked)

    def seen_in_small(self) -> str:
        """Return why a layer of somebody else's is no layer of maps, by small calls of it alone; empty if it is."""
        site, options = self.stages[0][0], self.cell.options
        if not (issubclass(self.mechanism, Adapted) and self.mechanism.taken_for_maps(site, options)):
            return ""
        return self.mechanism(site, **options).why_of_blocks(site, options)

    def _one_map(self, layer: nn.Module) -> Tensor:
        site = self.stages[0][0]
        return torch.randn(1, site.height, site.width, site.dim).to(next(layer.parameters(), torch.empty(0)))

    @property
    def layers(self) -> int:
        """The depth of a stack, 1 for a backbone."""
        return self.cell.depth if self.cell.scope is Scope.LAYER else 1

    def example(self) -> Tensor:
        """Return images for a backbone, a map (B, h, w, C) for a stack."""
        cell = self.cell
        if cell.scope is Scope.BACKBONE:
            return Subject.example(self)
        site = self.stages[0][0]
        x = torch.randn(cell.batch, site.height, site.width, site.dim).to(DTYPES[cell.dtype])
        return x.requires_grad_(cell.mode is Mode.TRAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSubject(Subject):
    """A published network."""

    def why_unsupported(self) -> str | None:
        """Build it without weights and show it an image without pixels: what it cannot take it says itself.

        One that reads numbers, of which there are none, may take the image: only running it tells.
        """
        try:
            model, (x,) = self.on_meta()
        except Exception as error:  # a stranger's constructor may raise anything
            return self._refusal(error)
        try:
            with torch.no_grad():
                model.eval()(x[:1])
        except Exception as error:
            return None if any(said in str(error).lower() for said in _NO_NUMBERS) else self._refusal(error)
        return None

    def _refusal(self, error: Exception) -> str:
        said = " ".join(str(error).split()) or type(error).__name__
        return f"{_text(self.image_size)} pixels: {said}"

    def build(self) -> nn.Module:
        """Build the network for the cell's image size."""
        cell, (height, width) = self.cell, self.image_size
        model = networks.create(cell.network, height=height, width=width, options=cell.options)
        return model.train(cell.mode is Mode.TRAIN)

    def closed_form(self) -> None:
        """There is none: counters count the whole network."""

    def adaptation(self) -> str:
        """Say if images are padded, and if a network bound to one image size was built for another.

        What else it does is not known.
        """
        return "; ".join(filter(None, (self._padding(), self._rebuilt())))

    def _padding(self) -> str:
        given = (self.cell.height, self.cell.width)
        return "" if given == self.image_size else f"images of {_text(given)} padded to {_text(self.image_size)}"

    def _rebuilt(self) -> str:
        described = getattr(self.on_meta()[0], "pretrained_cfg", {})
        size = self.image_size
        if not described.get("fixed_input_size") or described["input_size"][1:] == size:
            return ""
        return f"built for {_text(size)} instead of {_text(described['input_size'][1:])}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseSubject(NetworkSubject):
    """A published network under the head of a dense task."""

    def build(self) -> nn.Module:
        """Build the network's feature maps and the head."""
        from attnbench.models.dense import model as dense_model  # noqa: PLC0415 - torchvision: a second for every worker

        cell = self.cell
        given: dict[str, Any] = dict(cell.options)
        networks.fuse(given.pop("backend") != "unfused")
        task = dense.DenseTask(cell.head)
        height, width = self.image_size
        model = dense_model.build(task, cell.network, height=height, width=width, **given)
        return model.train(cell.mode is Mode.TRAIN)

    def adaptation(self) -> str:
        """Say if images are padded, and if the network has another form for dense tasks than for classification."""
        from attnbench.models.dense.features import Features  # noqa: PLC0415 - torchvision

        dense_form = any(each.dense for each in self.on_meta()[0].modules() if isinstance(each, Features))
        said = "in its form for dense tasks (dense=True)" if dense_form else ""
        return "; ".join(filter(None, (self._padding(), said)))


def of(cell: Cell) -> Subject:
    """Load what a cell names.

    Raises:
        PluginError: it cannot be loaded.
    """
    if cell.scope is Scope.NETWORK:
        networks.find(cell.network)
        return DenseSubject(cell=cell) if cell.head else NetworkSubject(cell=cell)
    return MechanismSubject(cell=cell, mechanism=_installed().find(cell.mechanism).load())


@cache
def _installed() -> Registry:
    """Return the plugins as they were when the first cell was loaded: to look for them takes long for a small cell."""
    return discover()


def cast(model: nn.Module, dtype: str) -> nn.Module:
    """Cast a module's real numbers in place; complex ones stay, where ``to`` would drop their imaginary part."""
    casts = {torch.float32: nn.Module.float, torch.bfloat16: nn.Module.bfloat16, torch.float16: nn.Module.half}
    return casts[DTYPES[dtype]](model)


def _sites_of_a_stack(cell: Cell) -> list[Site]:
    stride = SWIN_T_SIZED.stride(cell.stage - 1)
    return [
        Site(
            height=-(-cell.height // stride),
            width=-(-cell.width // stride),
            dim=cell.dim,
            heads=cell.heads,
            stride=stride,
            layer=layer,
            depth=cell.depth,
        )
        for layer in range(cell.depth)
    ]


def _text(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))
