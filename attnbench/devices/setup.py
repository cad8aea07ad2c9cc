"""Sets a process up for measuring on a device: worker, child that measures the limits, pytest's fixture alike.

What is set here is in the environment's id, so whoever takes the environment sets the process up first.
"""

from __future__ import annotations

import torch


def set_up(device: str, *, threads: int) -> None:
    """Set this process up for measuring on a device, before anything is taken down of it or measured in it.

    On CUDA, float32 means the same to convolutions as to matrix products. Torch lets only the former use TF32, which
    would time mechanisms by whether their projections are written as 1 x 1 convolutions.
    TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 lets both use it.

    Args:
        device: what is measured on, by its full name, such as ``cuda:1``.
        threads: intra-op threads on the CPU.
    """
    torch.set_num_threads(threads)
    if device.startswith("cuda"):
        torch.cuda.set_device(device)  # torch chooses kernels of attention by the current device
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32
