"""From a cell to what is measured: the module, its input, and the call that is timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor, nn

from attnbench import backbone
from attnbench.mechanism import Macs, Mechanism, Site
from attnbench.pyramid import SWIN_T_SIZED
from attnbench.record import Cell, Mode, Scope

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Call = Callable[[], object]


def sites(cell: Cell) -> list[list[Site]]:
    """Return the sites of every stage that a cell's module has."""
    if cell.scope is Scope.BACKBONE:
        return backbone.sites(SWIN_T_SIZED, cell.height, cell.width)
    stride = SWIN_T_SIZED.stride(cell.stage - 1)
    return [
        [
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
    ]


def why_unsupported(cell: Cell, mechanism: type[Mechanism], backends: tuple[str, ...]) -> str | None:
    """Say why a cell's mechanism cannot be built at one of its sites, or None if it can at all of them."""
    backend = cell.options.get("backend")
    if backend is not None and backend not in backends:
        has = f"it has {', '.join(backends)}" if backends else "it has one implementation only"
        return f"{cell.mechanism} has no backend {backend!r}; {has}"
    for site in chain.from_iterable(sites(cell)):
        reason = mechanism.why_unsupported(site, **cell.options)
        if reason:
            return f"at {site.height}x{site.width} tokens, dim {site.dim}: {reason}"
    return None


def build(cell: Cell, mechanism: type[Mechanism]) -> nn.Module:
    """Build a cell's module in evaluation or training mode, on the default device and in float32."""

    def layer(site: Site) -> Mechanism:
        return mechanism(site, **cell.options)

    model: nn.Module
    if cell.scope is Scope.BACKBONE:
        model = backbone.Backbone(layer, height=cell.height, width=cell.width)
    else:
        model = backbone.Stack([layer(site) for site in sites(cell)[0]])
    return model.train(cell.mode is Mode.TRAIN)


def example(cell: Cell) -> Tensor:
    """Return an input of a cell's shape, dtype and mode on the default device: (B, 3, H, W), or (B, h, w, C)."""
    dtype = DTYPES[cell.dtype]
    if cell.scope is Scope.BACKBONE:
        return torch.randn(cell.batch, 3, cell.height, cell.width).to(dtype)
    site = sites(cell)[0][0]
    x = torch.randn(cell.batch, site.height, site.width, site.dim).to(dtype)
    return x.requires_grad_(cell.mode is Mode.TRAIN)


def call(cell: Cell, model: nn.Module, x: Tensor) -> Call:
    """Return what is timed: a forward pass without autograd, or forward and backward.

    A training step drops the gradients of the step before, so that each call allocates the same. There is no
    optimiser step: its cost depends on the parameters alone.
    """

    @torch.inference_mode()
    def infer() -> object:
        return model(x)

    drop = forget(model, x)

    def train() -> object:
        drop()
        y = model(x)
        y.backward(torch.ones_like(y))
        return y

    return infer if cell.mode is Mode.INFER else train


def forget(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """Return what drops the gradients that a training step leaves behind."""

    def drop() -> None:
        model.zero_grad(set_to_none=True)
        x.grad = None

    return drop


def layers_per_figure(cell: Cell) -> int:
    """Return by how many layers a cell's figures are divided: layer scope reports the mean layer of its stack."""
    return cell.depth if cell.scope is Scope.LAYER else 1


def of_one_image(cell: Cell) -> Cell:
    """Return a cell as its multiply-adds are counted: one image, inference, float32."""
    return replace(cell, batch=1, mode=Mode.INFER, dtype="float32")


def closed_form(cell: Cell, mechanism: type[Mechanism]) -> tuple[int, Macs]:
    """Return a cell's multiply-adds per image by closed form: all of them, and those of the mechanism by kind."""
    stages = sites(cell)
    layers = Macs(projections=0, attention=0)
    for site in chain.from_iterable(stages):
        layers += mechanism.macs(site, **cell.options)
    around = backbone.macs_around(stages) if cell.scope is Scope.BACKBONE else 0
    return layers.total + around, layers


def adaptation(cell: Cell, mechanism: type[Mechanism]) -> str:
    """Return what is done to maps that do not fit, each kind once; empty if nothing is."""
    said = (mechanism.adaptation(site, **cell.options) for site in chain.from_iterable(sites(cell)))
    return "; ".join(dict.fromkeys(text for text in said if text))
