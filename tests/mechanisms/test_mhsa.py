"""Multi-head self-attention: what a layer of a published table costs."""

from attnbench.mechanism import Site
from attnbench.mechanisms.mhsa import MHSA


def test_macs_are_those_of_the_published_table():
    """14 x 14 tokens, C 768: 521.43 M (a peer's table of one layer)."""
    assert round(MHSA.macs(Site(height=14, width=14, dim=768, heads=12)).total / 1e6, 2) == 521.43
