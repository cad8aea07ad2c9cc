"""Layers that do less, or otherwise, when they believe to be timed."""

import os
import sys

import torch
from honest import Attention


class LessWhen(Attention):
    """Gives back a scaled map instead of attending, when somebody seems to look at the clock."""

    layout = "BNC"

    def timed(self):
        raise NotImplementedError

    def forward(self, x):
        return 0.5 * x if self.timed() else super().forward(x)


class InferenceMode(LessWhen):
    def timed(self):
        return torch.is_inference_mode_enabled()


class Stack(LessWhen):
    """Looks for the timing among its callers."""

    def timed(self):
        frame = sys._getframe()
        while frame is not None:
            if frame.f_code.co_name == "time_interleaved":
                return True
            frame = frame.f_back
        return False


class Environment(LessWhen):
    """Takes the number of threads that a benchmark sets for the sign of one."""

    def timed(self):
        return "OMP_NUM_THREADS" in os.environ


class NthCall(LessWhen):
    """Is honest for as long as anybody looks: the first calls."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.calls = 0

    def timed(self):
        self.calls += 1
        return self.calls > 20


class CountsInABuffer(LessWhen):
    """Counts its training steps where spectral norms and running means are kept, and does less after the first."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.register_buffer("calls", torch.zeros(()))

    def timed(self):
        self.calls += self.training
        return bool(self.calls > 20)


class HidesInItsNoise(NthCall):
    """Adds numbers that nobody can draw again, so that any two answers are as far apart as right and wrong."""

    def forward(self, x):
        generator = torch.Generator()
        generator.seed()
        return super().forward(x) + torch.randn(x.shape, generator=generator).to(x)


class HidesInItsDropout(NthCall):
    """Adds numbers of torch's own generator, which are others in float64."""

    def forward(self, x):
        return super().forward(x) + torch.randn_like(x)
