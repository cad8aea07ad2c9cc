"""The example of a kind of device in docs/devices.md is one."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import brought
import pytest

from attnbench import devices
from attnbench.devices.accelerator import Accelerator
from attnbench.worker.events import outcome

PAGE = (Path(__file__).parents[2] / "docs" / "devices.md").read_text()
CODE, ENTRY = (re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)[0] for kind in ("python", "toml"))


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's package, as its entry point names it."""
    (group,) = tomllib.loads(ENTRY)["project"]["entry-points"].items()
    ((name, value),) = group[1].items()
    entry = EntryPoint(name=name, value=value, group=group[0])
    assert entry.group == devices.GROUP
    module = ModuleType(entry.module)
    exec(CODE, vars(module))
    monkeypatch.setitem(__import__("sys").modules, entry.module, module)
    brought.bring(monkeypatch, entry)


@pytest.mark.usefixtures("_installed")
def test_the_example_is_a_kind_whose_errors_are_understood() -> None:
    on = devices.of("acme:1")
    assert isinstance(on, Accelerator)
    assert outcome(RuntimeError("ACME_ERR_NO_MEMORY: 7"))[0] == "out-of-memory"
    assert outcome(RuntimeError("ACME_ERR_NO_KERNEL: softmax"))[0] == "unsupported"
