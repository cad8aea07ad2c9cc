"""What every registered mechanism must keep, by the kit that anyone's is checked with.

New mechanisms are tested by being registered; what the kit itself catches is tested in ``test_testing.py``.
"""

from dataclasses import replace

import pytest

from attnbench.conformance.candidate import SITES
from attnbench.plugins.registry import discover
from attnbench.testing import CHECKS, CheckOutcome, check

NAMES = sorted(discover().plugins)


def not_claimed(name: str) -> set[str]:
    """What a mechanism need not promise: backends, one reach where its layers alternate, a count of a recurrence."""
    unseen = {"macs-counted"} if name == "ss2d" else set()
    return {"backends"} | unseen | (set() if discover().plugins[name].load().reach else {"reach"})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("promise", CHECKS)
def test_a_mechanism_keeps_the_contract(name: str, promise: str) -> None:
    (finding,) = check(name, checks=[promise]).findings
    assert finding.passed, finding
    assert finding.outcome is CheckOutcome.PASSED or promise in not_claimed(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_map_is_supported_in_every_stage(name: str) -> None:
    mechanism = discover().plugins[name].load()
    assert {mechanism.why_unsupported(site) for site in SITES} == {None}


@pytest.mark.parametrize("name", NAMES)
def test_heads_that_do_not_divide_the_channels_are_refused_before_building(name: str) -> None:
    assert discover().plugins[name].load().why_unsupported(replace(SITES[0], heads=5)) is not None
