"""Layers that return before they have done their work."""

import threading

import torch
from honest import Attention


class InThread(Attention):
    """Fills its output in a thread, after it has returned."""

    def forward(self, x):
        if not torch.is_inference_mode_enabled():
            return super().forward(x)
        y, forward = torch.zeros_like(x), super().forward

        def fill():
            with torch.inference_mode():
                y.copy_(forward(x))

        self.thread = threading.Thread(target=fill)
        self.thread.start()
        return y
