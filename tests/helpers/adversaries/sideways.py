"""Layers that change what is not theirs to change."""

import torch
from honest import Attention


class WritesIntoInput(Attention):
    def forward(self, x):
        y = super().forward(x)
        if torch.is_inference_mode_enabled():
            x.mul_(0.5)
        return y


class ChangesItsWeights(Attention):
    """Forgets a part of its weights with every call that nobody checks."""

    def forward(self, x):
        y = super().forward(x)
        if torch.is_inference_mode_enabled():
            with torch.no_grad():
                self.proj.bias.add_(1e-3)
        return y


class OtherWeights(Attention):
    """Draws its weights from the system, so that no seed gives the same ones again."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        generator = torch.Generator()
        generator.seed()
        with torch.no_grad():
            self.proj.weight.normal_(generator=generator)
