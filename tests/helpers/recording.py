"""What a test sees of a computation: every operator that ran and the tensors it made."""

from collections import Counter
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Recording(TorchDispatchMode):
    """Counts operators by name and keeps the shape of every tensor they returned."""

    def __init__(self):
        super().__init__()
        self.operators = Counter()
        self.shapes = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.operators[func.overloadpacket.__name__] += 1
        self.shapes |= {tuple(leaf.shape) for leaf in tree_leaves(out) if isinstance(leaf, Tensor)}
        return out

    @property
    def largest(self) -> int:
        """Elements of the largest tensor."""
        return max(torch.Size(shape).numel() for shape in self.shapes)


def saving_into(storages: dict[int, int]) -> AbstractContextManager[None]:
    """Put the bytes of every storage that autograd saves into a dict, by its address."""

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    return torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
