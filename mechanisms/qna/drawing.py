"""Initial weights as the released code of QnA-ViT draws them: its kernels are Flax's ``lecun_normal``."""

from __future__ import annotations

from torch import Tensor, nn

_CUT = 0.87962566103423978
"""Standard deviation of a standard normal that is cut off at 2: what is drawn is divided by it."""


def lecun_normal(weight: Tensor) -> None:
    """Draw a kernel (out, in, ...) from a normal of variance 1 / fan-in, cut off at two of its deviations."""
    std = weight[0].numel() ** -0.5 / _CUT
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def draw_as_released(module: nn.Module) -> None:
    """Draw the kernel of a linear layer or a convolution so; biases are 0."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        lecun_normal(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
