"""Checkpoint files as named tensors, whatever wrote them, and what of them does not fit a network.

A file is a stranger's: what is in it never runs, and costs no more memory than a small multiple of its size. Knows no
network; what a network's authors named otherwise, it renames itself.
"""

from attnbench.models.tensors.file import read
from attnbench.models.tensors.fit import check_fit, shape_text
from attnbench.models.tensors.names import candidates
from attnbench.models.tensors.tree import Tensors

__all__ = ["Tensors", "candidates", "check_fit", "read", "shape_text"]
