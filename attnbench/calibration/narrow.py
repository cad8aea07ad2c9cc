"""Networks of timm's made narrow, and fitted to what a proxy shows: small grey images, or maps of tokens."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.accuracy.data.splits import Dataset
from attnbench.accuracy.tasks import maps
from attnbench.accuracy.tasks.table import ProbeTask
from attnbench.calibration.published import PATCH, PublishedNetwork

SIDE = 32
"""The least side of an image that networks which shrink it 32 times are shown, in pixels."""
TOKEN = 8
"""Pixels along a side of a token of a task."""


def build(network: PublishedNetwork, *, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """Return a narrow network with random weights.

    Args:
        network: which.
        channels: of an image.
        classes: logits.
        size: height and width of the images, in pixels.
    """
    import timm  # noqa: PLC0415 - seconds to import

    given: dict[str, Any] = {**network.narrow, "in_chans": channels, "num_classes": classes}
    if network.plain:
        given |= {"img_size": size, "patch_size": PATCH}
    model: nn.Module = timm.create_model(network.name, pretrained=False, **given)
    return model


class ImageReader(nn.Module):
    """A narrow network that is shown images enlarged by a whole number, with a frame of zeros up to its least side."""

    def __init__(self, network: PublishedNetwork, data: Dataset) -> None:
        super().__init__()
        self.times = max(1, SIDE // max(data.height, data.width))
        height, width = (max(SIDE, side * self.times) for side in (data.height, data.width))
        self.size = height, width
        self.network = build(network, channels=data.channels, classes=data.classes, size=self.size)

    def forward(self, images: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return logits."""
        large = images.repeat_interleave(self.times, 2).repeat_interleave(self.times, 3)
        down, across = (side - had for side, had in zip(self.size, large.shape[-2:], strict=True))
        framed = F.pad(large, (across // 2, across - across // 2, down // 2, down - down // 2))
        logits: Tensor = self.network(framed)
        return logits


class TokenReader(nn.Module):
    """A narrow network that answers for each token of a task's maps, drawn as squares of 8 pixels.

    Each cell of the network's last map answers for the tokens that it covers, by one linear layer.
    """

    def __init__(self, network: PublishedNetwork, task: ProbeTask) -> None:
        super().__init__()
        self.rows, self.columns, self.symbols = task.height, task.width, task.symbols
        size = TOKEN * task.height, TOKEN * task.width
        self.network = build(network, channels=maps.channels(task), classes=0, size=size)
        features = self.network.num_features
        assert isinstance(features, int)
        self.covered = self._covered(maps.channels(task))
        self.norm = nn.LayerNorm(features)
        self.head = nn.Linear(features, self.covered**2 * task.symbols)

    def forward(self, x: Float[Tensor, "batch height width channels"]) -> Float[Tensor, "batch height width symbols"]:
        """Return logits for each token."""
        cells = self._cells(x)
        batch, rows, columns, _ = cells.shape
        answers = self.head(self.norm(cells)).view(batch, rows, columns, self.covered, self.covered, self.symbols)
        whole = answers.transpose(2, 3).reshape(batch, rows * self.covered, columns * self.covered, self.symbols)
        logits: Tensor = whole[:, : self.rows, : self.columns]
        return logits

    def _cells(self, x: Float[Tensor, "batch height width channels"]) -> Float[Tensor, "batch rows columns features"]:
        """Return the network's last map."""
        images = x.permute(0, 3, 1, 2).repeat_interleave(TOKEN, 2).repeat_interleave(TOKEN, 3)
        found: Tensor = self.network.forward_features(images)  # type: ignore[operator]
        if found.ndim == 4:
            return found.permute(0, 2, 3, 1)
        before = getattr(self.network, "num_prefix_tokens", 0)
        tokens = found[:, before:]
        shrunk = round((self.rows * self.columns / tokens.shape[1]) ** 0.5)
        return tokens.reshape(len(tokens), self.rows // shrunk, self.columns // shrunk, -1)

    @torch.no_grad()
    def _covered(self, channels: int) -> int:
        """Return how many tokens a cell covers along a side, by the width of the map that the network makes."""
        self.network.eval()
        columns = self._cells(torch.zeros(1, self.rows, self.columns, channels)).shape[2]
        self.network.train()
        return -(-self.columns // columns)
