"""Differential attention: what its first weights depend on, and where it cannot be built."""

from dataclasses import replace

import pytest
from layer_checks import site_of

from attnbench.mechanisms.diff import DifferentialAttention
from attnbench.models.backbone import sites
from attnbench.models.pyramid import SWIN_T_SIZED


def test_lambda_starts_by_the_index_of_the_layer_in_the_whole_network():
    every = [site for stage in sites(SWIN_T_SIZED, 64, 64) for site in stage]
    assert [site.index for site in every] == list(range(12))
    starts = [DifferentialAttention(site).initial_gain for site in every]
    assert starts[0] == pytest.approx(0.2)
    assert starts == sorted(starts)
    assert starts[-1] < 0.8


def test_a_head_of_an_odd_width_is_refused_with_the_reason():
    site = replace(site_of(4, 4), dim=6, heads=2)
    assert (
        DifferentialAttention.why_unsupported(site) == "heads of 3 channels do not divide into the halves of two maps"
    )
