"""Layers of float32 that are less precise inside."""

import torch
from honest import Attention


class HalfInside(Attention):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x).float()


class HalfWhenTimed(Attention):
    def forward(self, x):
        if not torch.is_inference_mode_enabled():
            return super().forward(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x).float()
