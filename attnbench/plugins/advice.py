"""What else a module may be built with where it does not run as it is: each change is tried before it is shown."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from attnbench.mechanism import Site
from attnbench.plugins import candidates
from attnbench.plugins.arguments import hints_of, of_constructor
from attnbench.plugins.candidates import Change
from attnbench.plugins.names import KNOWN
from attnbench.plugins.recipe import Fit, Recipe
from attnbench.record import Value

_MOST_TRIED = 300
_WRITABLE = (int, float, bool, str, tuple, type(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Adviser:
    """Looks for what a module runs with at a site."""

    recipe: Recipe
    site: Site
    options: Mapping[str, Value]
    named: str
    """The module's name, as options are written behind it."""
    elsewhere: Sequence[Site] = ()
    """Where it should run as well, if that can be."""

    def that_works(self, missing: Sequence[str] = ()) -> str:
        """Return the end of a message with a line that was tried and works, empty if nothing that was tried does.

        Args:
            missing: arguments that must have a value; without any, one argument is changed.
        """
        if any(type(value) not in _WRITABLE for value in self.recipe.fixed.values()):
            return ""
        line = ""
        for changes in itertools.islice(self._sets(missing), _MOST_TRIED):
            fit = self._fit(changes, self.site)
            if fit is None:
                continue
            if all(self._fit(changes, site) for site in self.elsewhere):
                return self._said(self._line(changes, fit))
            line = line or self._line(changes, fit)
        return self._said(line)

    def _said(self, line: str) -> str:
        return f"; this works at {self.site.height}x{self.site.width} tokens: {line}" if line else ""

    def _sets(self, missing: Sequence[str]) -> Iterator[tuple[Change, ...]]:
        """Yield what is tried: values for what has none, then one argument more; flags first, they change least."""
        takes = inspect.signature(self.recipe.layer).parameters
        known = hints_of(self.recipe.layer)

        def found(name: str) -> list[Change]:
            return candidates.of(takes[name], known.get(name), self.site, layer=self.recipe.layer)

        needed = list(itertools.product(*map(found, missing)))
        if missing:
            yield from needed
        cut = [Change("windows", str(candidates.SIDE), lambda _: candidates.SIDE)] if self._may_cut() else []
        yield from ((*changes, each) for changes in needed for each in cut)
        kept = {*KNOWN, *self.recipe.fixed, *missing}
        free = sorted((p for p in takes.values() if p.name not in kept), key=lambda p: not isinstance(p.default, bool))
        for changes in needed:
            yield from ((*changes, change) for parameter in free for change in found(parameter.name))
        for changes in needed:
            yield from ((*changes, change, *cut) for parameter in free for change in found(parameter.name) if cut)

    def _may_cut(self) -> bool:
        return "windows" in self.recipe.settings() and "windows" not in self.options

    def _fit(self, changes: Sequence[Change], site: Site) -> Fit | None:
        fixed = dict(self.recipe.fixed) | {change.name: change.value(site) for change in changes}
        windows = self.recipe.windows
        if self._may_cut() and fixed.pop("windows", 0):
            windows = candidates.SIDE
        options = {name: value for name, value in self.options.items() if name not in fixed}
        recipe = dataclasses.replace(self.recipe, fixed=fixed, tried={}, windows=windows)
        try:
            fit = recipe.fit_without_data(site, options)
        except Exception:  # whatever a constructor raises: it does not work
            return None
        return None if recipe.is_blind(site, fit, options) else fit

    def _line(self, changes: Sequence[Change], fit: Fit) -> str:
        """Return what is written behind a name, or else in a file, for these changes."""
        layer, settings = self.recipe.layer, self.recipe.settings()
        further = {name: value for name, value in self.options.items() if name in settings}
        if len(fit.layouts) > 1:
            further["layout"] = "BCHW" if "BCHW" in fit.layouts else fit.layouts[0]
        own, called = candidates.as_they_are(self._asked()), candidates.as_they_are(further)
        behind = [change.as_option for change in (*own, *changes, *called)]
        if all(behind):
            return f"{self.named}{''.join(behind)}"
        name = getattr(layer, "__name__", "")
        set_here = [*candidates.as_they_are(self.recipe.fixed), *own, *changes]
        calls = [change.as_argument for change in called]
        if not any(change.of_site for change in set_here):
            return f"Mine = adapt({', '.join([name, *(change.as_argument for change in set_here), *calls])})"
        taken = {change.name for change in set_here}
        given = of_constructor(layer, self.site, needed=fit.needed)
        from_site = [candidates.from_site(name, value) for name, value in given.items() if name not in taken]
        built = ", ".join(change.as_argument for change in (*from_site, *set_here))
        return f"Mine = adapt({', '.join([f'lambda site: {name}({built})', *calls])})"

    def _asked(self) -> dict[str, Value]:
        """Return the options of the layer that somebody has set."""
        takes = inspect.signature(self.recipe.layer).parameters
        return {name: value for name, value in self.options.items() if name in takes and takes[name].default != value}
