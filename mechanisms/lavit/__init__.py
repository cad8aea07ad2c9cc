"""Less attention (LaViT): scores computed once at the start of a stage, then transformed from layer to layer."""

from attnbench.mechanisms.lavit.attention import LessAttention
from attnbench.mechanisms.lavit.loss import diagonality_loss
from attnbench.mechanisms.lavit.plan import COEFFICIENT

__all__ = ["COEFFICIENT", "LessAttention", "diagonality_loss"]
