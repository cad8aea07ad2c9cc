"""Every public class shows how it is used, and what it shows is so."""

from __future__ import annotations

import doctest
import inspect
import io
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from typing import Any

import pytest

import attnbench.testing
from attnbench.plugins.registry import discover

MODULES = [
    "attnbench.api",
    "attnbench.mechanism",
    "attnbench.record",
    "attnbench.metrics.metric",
    "attnbench.metrics.printing",
    "attnbench.roofline",
    "attnbench.errors",
    "attnbench.store.asked",
    "attnbench.store.records",
    "attnbench.conformance.finding",
    "attnbench.testing",
    "attnbench.pytest_bridge.call",
    "attnbench.devices.accelerator",
    "attnbench.devices.clock",
    "attnbench.devices.device",
    "attnbench.devices.figures",
    "attnbench.runtimes.runtime",
    "attnbench.engines.engine",
]
"""What users import: words, contract, kit, store, fixture, and what devices, runtimes and engines are made of."""


def shows_itself(found: Any) -> bool:
    """Whether there is nothing to show: an enumeration is its members, an exception without a constructor its name."""
    bare = inspect.isclass(found) and issubclass(found, Exception) and "__init__" not in vars(found)
    return bare or getattr(found, "_is_protocol", False) or (inspect.isclass(found) and issubclass(found, Enum))


def public() -> Iterator[tuple[str, Any]]:
    for name in attnbench.__all__:
        if callable(found := getattr(attnbench, name)):
            yield name, found
    for module_name in MODULES:
        for name, found in vars(import_module(module_name)).items():
            own = getattr(found, "__module__", "") == module_name and not name.startswith("_")
            if own and (inspect.isclass(found) or name in attnbench.testing.__all__):
                yield f"{module_name}.{name}", found
    for name, one in discover().plugins.items():
        yield name, one.load()


PUBLIC = {name: found for name, found in public() if not shows_itself(found)}


@pytest.mark.parametrize("found", PUBLIC.values(), ids=PUBLIC)
def test_what_is_public_has_an_example_that_is_so(found: Any) -> None:
    places = vars(inspect.getmodule(found))
    examples = doctest.DocTestFinder(recurse=False).find(found, found.__name__, globs=dict(places))
    assert any(example.examples for example in examples), f"{found.__name__} shows no example"
    said = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in examples:
        runner.run(example, out=said.write)
    assert runner.failures == 0, said.getvalue()
