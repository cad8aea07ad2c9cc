"""Classes by name, of ours and of other packages."""

from importlib.metadata import EntryPoint
from pathlib import Path, PurePath

import brought
import pytest

from attnbench.errors import PluginError, UsageError
from attnbench.families import Family

GROUP = "attnbench.fruits"
FRUITS: Family[PurePath] = Family(word="fruit", group=GROUP, built_in={"pear": "pathlib:Path"}, base="pathlib:PurePath")


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=GROUP)


def test_another_package_adds_to_those_that_are_built_in_and_takes_none_of_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brought.bring(monkeypatch, entry("fig", "pathlib:PosixPath"), entry("pear", "pathlib:PosixPath"))
    assert FRUITS.names() == ("pear", "fig")
    assert FRUITS.of("pear") is Path
    assert FRUITS.of("fig").__name__ == "PosixPath"


def test_a_name_that_nobody_has_is_told_with_those_that_are_near() -> None:
    with pytest.raises(UsageError, match=r"--fruit 'peer': did you mean pear\?"):
        FRUITS.of("peer")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("no_such_module:Fig", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("pathlib:Fig", "AttributeError: "),
        ("collections:OrderedDict", "not a subclass of pathlib.PurePath"),
        ("pathlib", "not a subclass of pathlib.PurePath"),
    ],
)
def test_one_that_does_not_load_is_blamed_by_name_and_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    brought.bring(monkeypatch, entry("fig", value))
    with pytest.raises(PluginError) as raised:
        FRUITS.of("fig")
    assert str(raised.value).startswith(f"fruit fig ({value}): {said}")
    assert list(FRUITS.loaded()) == [Path]
