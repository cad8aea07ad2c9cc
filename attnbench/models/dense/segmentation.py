"""Semantic FPN: every map of the pyramid brought to stride 4, added up, classified.

Paper: Kirillov et al., "Panoptic Feature Pyramid Networks", CVPR 2019, https://arxiv.org/abs/1901.02446, the semantic
branch. With 150 classes it is what backbones are compared by on ADE20K.

Differs from the paper:
    - Logits are at stride 4; they are not resized to the image.
    - MMSegmentation's, whose figures papers print, has batch norms in place of the group norms: as many parameters. A
      checkpoint of it is evaluated with them.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.models.dense.features import STRIDES, WIDTH, Body, Feature, FeaturePyramid, Images
from attnbench.models.network import Level

BRANCH_WIDTH = 128
"""Channels of the maps that are added up."""
NORM_GROUPS = 32


class SemanticFPN(nn.Module):
    """A network, a pyramid and the semantic head."""

    def __init__(self, body: Body, classes: int, *, batch_norms: bool = False) -> None:
        super().__init__()
        self.backbone = FeaturePyramid(body)
        self.branches = nn.ModuleList(_branch(max(1, level), batch_norms=batch_norms) for level in range(len(STRIDES)))
        self.classifier = nn.Conv2d(BRANCH_WIDTH, classes, 1)

    def forward(self, images: Images) -> Float[Tensor, "batch classes height width"]:
        """Return logits at stride 4, (B, classes, ceil(H / 4), ceil(W / 4))."""
        maps = list(self.backbone(images).values())
        total = self._to_finest(0, maps)
        for level in range(1, len(maps)):
            total = total + self._to_finest(level, maps)
        logits: Tensor = self.classifier(total)
        return logits

    def _to_finest(self, level: int, maps: list[Level]) -> Feature:
        """Return a map at stride 4: doubled after each stage of its branch, the finest one as it is."""
        branch, x = self.branches[level], maps[level]
        assert isinstance(branch, nn.ModuleList)
        for step, stage in enumerate(branch, 1):
            x = stage(x)
            if level > 0:
                x = F.interpolate(x, size=maps[level - step].shape[-2:], mode="bilinear")
        return x


def _branch(stages: int, *, batch_norms: bool) -> nn.ModuleList:
    widths = [WIDTH] + [BRANCH_WIDTH] * stages
    return nn.ModuleList(
        nn.Sequential(
            nn.Conv2d(width, BRANCH_WIDTH, 3, padding=1, bias=False),
            nn.BatchNorm2d(BRANCH_WIDTH) if batch_norms else nn.GroupNorm(NORM_GROUPS, BRANCH_WIDTH),
            nn.ReLU(inplace=True),
        )
        for width in widths[:stages]
    )
