"""The modules of one revision of a repository, in a process that has those of another as well.

Both keep their own names. A revision is entered to load its code and for each of its calls: then its modules stand in
``sys.modules`` and it is the first to be asked for what is imported; left, nothing of it can be found. So a relative
import, an absolute one, one inside a function and one by ``importlib`` each find their own revision, and no text of
theirs is rewritten.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from torch._library.custom_ops import OPDEFS

from attnbench.plugins.source import BUILT_IN, package_of

_SHARED = frozenset({"attnbench"})
"""Packages that are the harness's own, in whichever repository they lie."""


class Revision:
    """Finds modules of a repository in a checkout of one of its revisions.

    What lies outside the repository, what the checkout does not have (a build's products, an environment in a
    subfolder), and attnbench itself are found as usual, and are the same for all revisions.

    Args:
        repository: the working tree, in which modules are found as usual.
        tree: the checkout; the working tree itself for its own revision.
    """

    def __init__(self, repository: Path, tree: Path) -> None:
        self._repository, self._tree = repository.resolve(), tree.resolve()
        self._names: dict[str, None] = {}
        self._modules: dict[str, ModuleType] = {}

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Within, its modules are those that names stand for."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        """Let its modules be those that names stand for."""
        sys.meta_path.insert(0, self)
        sys.modules.update(self._modules)
        _bind(self._modules)

    def leave(self) -> None:
        """Let none of its modules be found."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        found = {name: sys.modules.pop(name, None) for name in self._names}
        self._modules = {name: module for name, module in found.items() if module is not None}
        _unbind(self._modules)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module of this revision is, None for what is found as usual; Python's import asks it first."""
        first = package_of(name)
        if name != first:  # found by the path of its package, which lies in this checkout
            if first in self._names:
                self._names[name] = None
            return None
        usual = None if name in _SHARED else _usual(name, path, target)
        if usual is None or not usual.origin or not usual.has_location:
            return None
        origin = Path(usual.origin).resolve()
        if not origin.is_relative_to(self._repository):
            return None
        file = self._tree / origin.relative_to(self._repository)
        if not file.is_file():
            return None
        self._names[name] = None
        within = [str(file.parent)] if usual.submodule_search_locations is not None else None
        return importlib.util.spec_from_file_location(name, file, submodule_search_locations=within)


def _bind(modules: Mapping[str, ModuleType]) -> None:
    """Let the folder of the built-ins be an attribute of attnbench, which all revisions share."""
    if BUILT_IN in modules:
        setattr(sys.modules["attnbench"], BUILT_IN.partition(".")[2], modules[BUILT_IN])


def _unbind(modules: Mapping[str, ModuleType]) -> None:
    if BUILT_IN in modules:
        vars(sys.modules["attnbench"]).pop(BUILT_IN.partition(".")[2], None)


def _usual(name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        if not isinstance(finder, Revision):
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                return spec
    return None


class Operators:
    """Operators that were defined by ``torch.library.custom_op``, of which a process has one for each name.

    Of two revisions that define one of a name, the second computes for both from then on. Any other way to define or to
    implement an operator a second time raises.
    """

    def __init__(self) -> None:
        self._defined = dict(OPDEFS)

    def note(self) -> None:
        """Take down which there are."""
        self._defined = dict(OPDEFS)

    def redefined(self) -> list[str]:
        """Return the names of those, taken down before, that stand for something else by now."""
        return sorted(name for name, was in self._defined.items() if OPDEFS.get(name) is not was)
