"""That annotations are checked under test: of arguments and results, in layers and in the networks around them."""

from __future__ import annotations

import jaxtyping
import pytest
import torch

from attnbench.mechanism import Site
from attnbench.mechanisms.mhsa import MHSA
from attnbench.models.patches import PatchReduction

LAYER = MHSA(Site(height=2, width=3, dim=4, heads=2))


def test_a_map_of_too_few_axes_is_refused_by_its_annotation() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="batch height width dim"):
        LAYER(torch.zeros(2, 3, 4))


def test_a_map_of_whole_numbers_is_refused_by_its_annotation() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="batch height width dim"):
        LAYER(torch.zeros(1, 2, 3, 4, dtype=torch.int64))


def test_the_parts_of_networks_are_checked_too() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        PatchReduction(4, "two")
