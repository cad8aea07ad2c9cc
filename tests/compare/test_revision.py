"""Two revisions side by side in this process: small packages on disk, each imported from its own tree."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import attnbench
from attnbench.compare.revision import Operators, Revision


def write(top: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(content)


PACKAGE = {
    "tinier/__init__.py": "",
    "tinier/below/__init__.py": "",
    "tinier/below/part.py": "SAID = {said!r}\n",
    "tinier/relative.py": "from .below.part import SAID\n",
    "tinier/absolute.py": "import tinier.below.part\nSAID = tinier.below.part.SAID\n",
    "tinier/late.py": "def said():\n    from tinier.below.part import SAID\n    return SAID\n",
    "tinier/by_name.py": "import importlib as i\ndef said(): return i.import_module('tinier.below.part').SAID\n",
    "tinier/again.py": "import sys\ndef said(): return sys.modules['tinier.relative'].SAID\n",
    "beside.py": "SAID = {said!r}\n",
}


@pytest.fixture
def trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """A working tree that is on the path, as an installed package is, and a checkout of its base."""
    top, tree = tmp_path / "top", tmp_path / "tree"
    for folder, said in ((top, "head"), (tree, "base")):
        write(folder / "src", {name: content.format(said=said) for name, content in PACKAGE.items()})
    monkeypatch.syspath_prepend(str(top / "src"))
    before = set(sys.modules)
    yield top, tree
    for name in set(sys.modules) - before:
        del sys.modules[name]


def both(trees: tuple[Path, Path]) -> dict[str, Revision]:
    top, tree = trees
    return {"base": Revision(top, tree), "head": Revision(top, top)}


def loaded(revision: Revision, name: str) -> Any:
    with revision.entered():
        return importlib.import_module(name)


@pytest.mark.parametrize("name", ["relative", "absolute"])
def test_each_revision_has_its_own_code_however_it_imports_it(trees: tuple[Path, Path], name: str) -> None:
    modules = {side: loaded(one, f"tinier.{name}") for side, one in both(trees).items()}
    assert {side: module.SAID for side, module in modules.items()} == {"base": "base", "head": "head"}
    assert modules["base"].__name__ == modules["head"].__name__ == f"tinier.{name}"


@pytest.mark.parametrize("name", ["late", "by_name", "again"])
def test_what_is_imported_or_looked_up_in_a_call_is_of_the_same_revision(trees: tuple[Path, Path], name: str) -> None:
    revisions = both(trees)
    called = {
        side: (loaded(one, "tinier.relative"), loaded(one, f"tinier.{name}"))[1].said for side, one in revisions.items()
    }
    for side in ("head", "base", "head"):
        with revisions[side].entered():
            assert called[side]() == side


def test_a_module_beside_a_file_is_of_the_same_revision(trees: tuple[Path, Path]) -> None:
    assert {side: loaded(one, "beside").SAID for side, one in both(trees).items()} == {"base": "base", "head": "head"}


def test_left_nothing_of_it_is_found_and_its_modules_are_the_same_when_entered_again(trees: tuple[Path, Path]) -> None:
    base = Revision(*trees)
    first = loaded(base, "tinier.relative")
    assert not [name for name in sys.modules if name.startswith(("tinier", "beside"))]
    assert not [finder for finder in sys.meta_path if isinstance(finder, Revision)]
    assert loaded(base, "tinier.relative") is first


def test_it_is_left_when_what_is_imported_raises(trees: tuple[Path, Path]) -> None:
    (trees[1] / "src" / "tinier" / "relative.py").write_text("raise ImportError('no')")
    with pytest.raises(ImportError, match="no"):
        loaded(Revision(*trees), "tinier.relative")
    assert not [finder for finder in sys.meta_path if isinstance(finder, Revision)]
    assert loaded(Revision(trees[0], trees[0]), "tinier.relative").SAID == "head"


def test_a_module_that_only_head_has_below_a_package_is_not_found_in_base(trees: tuple[Path, Path]) -> None:
    write(trees[0] / "src", {"tinier/new.py": "SAID = 'head'"})
    with pytest.raises(ModuleNotFoundError, match=r"tinier\.new"):
        loaded(Revision(*trees), "tinier.new")


def test_what_the_checkout_lacks_or_lies_elsewhere_is_shared(
    trees: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(trees[0] / "src", {"made_by_a_build.py": ""})
    write(tmp_path / "elsewhere", {"of_others.py": ""})
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    for name in ("made_by_a_build", "of_others"):
        base, head = (loaded(one, name) for one in both(trees).values())
        assert base is head is sys.modules[name]


def test_bytecode_of_one_revision_is_never_run_for_the_other(trees: tuple[Path, Path]) -> None:
    """Sources of one size and age, which is all that tells Python that its cache is stale."""
    for tree in trees:
        os.utime(tree / "src" / "tinier" / "below" / "part.py", (1_000_000_000, 1_000_000_000))
    for _ in range(2):  # the second time from the cache
        found = {side: loaded(one, "tinier.below.part").SAID for side, one in both(trees).items()}
        assert found == {"base": "base", "head": "head"}


def test_the_harness_is_shared_though_it_lies_in_the_repository() -> None:
    top = Path(__file__).parents[2]
    assert Revision(top, top).find_spec("attnbench") is None


def test_an_operator_that_both_define_is_noticed_and_one_that_base_alone_has_is_not() -> None:
    known = Operators()

    def define(name: str) -> None:
        torch.library.custom_op(
            f"attnbench_test::{name}", lambda x: x.clone(), mutates_args=(), schema="(Tensor x) -> Tensor"
        )

    define("shared")
    define("of_base")
    known.note()
    assert known.redefined() == []
    define("shared")
    assert known.redefined() == ["attnbench_test::shared"]


def test_the_built_ins_are_code_of_the_repository_and_the_harness_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They lie below attnbench, of which both revisions have the same."""
    for name in [name for name in sys.modules if f"{name}.".startswith("attnbench.mechanisms.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(attnbench, "mechanisms", raising=False)
    part = "from attnbench.mechanisms.tiny.part import SAID\nimport attnbench.mechanisms.tiny.part as whole\n"
    files = {"__init__.py": "", "tiny/__init__.py": part, "tiny/part.py": "SAID = {said!r}\n"}
    repository = Path(attnbench.__file__).resolve().parents[1]
    # Where they are installed, they lie below attnbench; in a working tree beside it.
    place = Path(attnbench.__file__).with_name("mechanisms").resolve().relative_to(repository)
    for top in ("base", "head"):
        written = {f"{place}/{name}": text.format(said=top) for name, text in files.items()}
        write(tmp_path / top, written | {"attnbench/errors.py": "raise ImportError"})
    revisions = {top: Revision(repository, tmp_path / top) for top in ("base", "head")}
    for _ in range(2):
        for top, revision in revisions.items():
            found = loaded(revision, "attnbench.mechanisms.tiny")
            assert (top, top) == (found.SAID, found.whole.SAID)
    with revisions["base"].entered():
        assert attnbench.mechanisms.tiny.SAID == "base"
    assert not hasattr(attnbench, "mechanisms")
    assert "attnbench.mechanisms.tiny" not in sys.modules
