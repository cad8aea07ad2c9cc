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
