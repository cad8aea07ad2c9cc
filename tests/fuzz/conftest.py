"""Says at the end how many inputs there were, and holds memory to a bound."""

import resource
from collections.abc import Iterator

import fuzzing
import pytest

MOST_GROWTH_KIB = 768 * 1024


@pytest.fixture(autouse=True, scope="module")
def _memory_is_bounded() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_GROWTH_KIB


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if fuzzing.count:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(fuzzing.count.items()))
        terminalreporter.write_line(f"{fuzzing.count.total():,} inputs fuzzed: {kinds}")
