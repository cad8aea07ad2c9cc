"""The shape of the fixed backbone, as numbers. Imports no torch, so that a sweep can be planned without it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyramid:
    """Shape of a backbone: one entry per stage."""

    dims: tuple[int, ...] = (96, 192, 384, 768)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    mlp_ratio: int = 4
    patch: int = 4
    """Pixels per token along a side in the first stage; each later stage halves the map."""
    in_channels: int = 3

    def stride(self, stage: int) -> int:
        """Pixels per token along a side in a stage, counted from 0."""
        return int(self.patch * 2**stage)


SWIN_T_SIZED = Pyramid()
