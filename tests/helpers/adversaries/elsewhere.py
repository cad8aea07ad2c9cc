"""Layers that hold their maps where torch's allocator does not see them."""

import ctypes
import mmap

import numpy as np
import torch
from honest import Attention
from memory import SampledElements

ROOM = 32 * 2**20


class InNumpy(Attention):
    """Works on copies that numpy holds."""

    def forward(self, x):
        if x.is_meta or torch.compiler.is_compiling() or type(x) is not torch.Tensor:
            return super().forward(x)
        room = np.ones(ROOM // 4, dtype=np.float32)
        return super().forward(x) * float(room[0])


class InNumpyOnce(SampledElements):
    """Works in memory of numpy's, and answers from memory where it knows its input again."""

    def answer(self, x):
        np.ones(ROOM // 8)
        return super().answer(x)


class InMappedMemory(Attention):
    """Works on memory that it has of the system itself."""

    def forward(self, x):
        room = mmap.mmap(-1, ROOM)
        room[:: mmap.PAGESIZE] = b"1" * (ROOM // mmap.PAGESIZE)
        y = super().forward(x)
        room.close()
        return y


class FromTheLibrary(Attention):
    """Works on memory that it has of the C library."""

    def forward(self, x):
        library = ctypes.CDLL(None)
        library.malloc.restype = ctypes.c_void_p
        room = ctypes.c_void_p(library.malloc(ctypes.c_size_t(ROOM)))
        ctypes.memset(room, 1, ROOM)
        y = super().forward(x)
        library.free(room)
        return y
