"""The conformance kit, for anyone who writes a mechanism: one call in a test, or ``attnbench check NAME``.

from attnbench.testing import check_mechanism

def test_it_keeps_the_contract() -> None:
    check_mechanism("mine")
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from attnbench.conformance import aftermath, as_timed, conduct, declarations, numerics
from attnbench.conformance.candidate import SITES, Candidate, written
from attnbench.conformance.finding import BrokenError, CheckOutcome, CheckResult, NotClaimedError, Report, in_a_line
from attnbench.errors import UsageError, did_you_mean
from attnbench.mechanism import Mechanism, Site, option_defaults
from attnbench.models.values import generators_kept
from attnbench.plugins import options as option_syntax
from attnbench.plugins.adapter import adapt
from attnbench.plugins.registry import discover
from attnbench.worker import torch_state
from attnbench.worker.surroundings import Surroundings

__all__ = ["CHECKS", "CheckOutcome", "CheckResult", "Report", "Site", "check", "check_mechanism"]

Check = Callable[[Candidate], str]
"""Returns what it found, in a few words; its docstring says what is expected.

Raises BrokenError or NotClaimedError.
"""

CHECKS: Mapping[str, Check] = {
    "supported": conduct.supported,
    "shape": conduct.shape,
    "global-state": conduct.global_state,
    "seeded": conduct.seeded,
    "deterministic": conduct.deterministic,
    "answers-anew": conduct.answers_anew,
    "keeps-nothing": conduct.keeps_nothing,
    "images-apart": conduct.images_apart,
    "state-dict": conduct.state_dict,
    "input-kept": aftermath.input_kept,
    "weights-kept": aftermath.weights_kept,
    "done-on-return": aftermath.done_on_return,
    "at-rest": aftermath.at_rest,
    "memory-inside": aftermath.memory_inside,
    "as-timed": as_timed.as_timed,
    "precision": numerics.precision,
    "gradients-reach": numerics.gradients_reach,
    "gradients-right": numerics.gradients_right,
    "half-precision": numerics.half_precision,
    "backends": numerics.backends,
    "macs": declarations.macs,
    "macs-counted": declarations.macs_counted,
    "reach": declarations.reach,
    "compiles": declarations.compiles,
    "exports": declarations.exports,
}
"""Every check by its name, in the order in which they run."""
FOUNDATIONS = ("supported", "shape", "global-state", "seeded", "deterministic")
"""Checks that all others rely on: once one of them fails, those after it are not run."""
_RELIES_ON: Mapping[str, Sequence[str]] = {
    "as-timed": ("answers-anew", "images-apart", "state-dict", "input-kept", "weights-kept", "done-on-return"),
    "macs-counted": ("macs",),
    "precision": ("as-timed",),
    "reach": ("gradients-right",),
}
"""Further checks without which one says nothing: reach is read off gradients, and of several that would tell of one
fault it is the plainest that does."""


def check(
    mechanism: str | type[nn.Module],
    *,
    checks: Sequence[str] = tuple(CHECKS),
    sites: Sequence[Site] = SITES,
    **options: Any,  # noqa: ANN401 - options as the mechanism has them
) -> Report:
    """Check a mechanism and return what was found.

    Args:
        mechanism: a class, of a mechanism or of another module, the name of a registered one, or ``FILE.py:Class``;
            a name may carry options.
        checks: names of checks to run, of ``CHECKS``.
        sites: where to check it; by default square, wide, odd and one-token maps of 24 channels and 3 heads in each
            stage of a pyramid. A mechanism need not support all of them.
        options: options of the mechanism.

    Raises:
        PluginError: the mechanism cannot be loaded.
        UsageError: an option or a check that there is not, or no site.

    Example:
        >>> check("mhsa", checks=["shape"], sites=[Site(height=4, width=4, dim=24, heads=3)]).passed
        True
    """
    unknown = [f"unknown check {name!r}; {did_you_mean(name, CHECKS)}" for name in checks if name not in CHECKS]
    if unknown:
        raise UsageError(*unknown)
    house = Surroundings()
    with torch_state.restored():  # else what loading sets would be no change to the checks
        loaded, distribution, given = _loaded(mechanism)
    settled = house.settle()
    takes = inspect.signature(loaded).parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in takes.values())
    unknown = [f"unknown option {name!r}; {did_you_mean(name, takes)}" for name in options if name not in takes]
    if unknown and not takes_any:
        raise UsageError(*unknown)
    if not sites:
        raise UsageError("no site to check at; give at least one in sites=[...], or leave it out")
    candidate = Candidate(
        mechanism=loaded,
        options=option_syntax.as_before(loaded, {**option_defaults(loaded), **given, **options}),
        sites=tuple(sites),
        changes=(*settled.undone, *settled.left),
    )
    line = _Line(mechanism=mechanism, options=options, sites=sites)
    findings: list[CheckResult] = []
    for name in checks:
        relied_on = {*FOUNDATIONS, *_RELIES_ON.get(name, ())}
        fallen = [each.check for each in findings if each.outcome is CheckOutcome.FAILED and each.check in relied_on]
        with settled.world.worn():
            findings.append(_not_run(name, fallen[0], line) if fallen else _judged(name, candidate, line))
    name = mechanism if isinstance(mechanism, str) else mechanism.__qualname__
    return Report(name=name, distribution=distribution, findings=tuple(findings))


def check_mechanism(
    mechanism: str | type[nn.Module],
    *,
    checks: Sequence[str] = tuple(CHECKS),
    sites: Sequence[Site] = SITES,
    **options: Any,  # noqa: ANN401
) -> None:
    """Check a mechanism as ``check`` does, in a test of any framework.

    Raises:
        AssertionError: a check failed; the message has what was expected, what was found, and a line to see it again.
        PluginError: the mechanism cannot be loaded.
        UsageError: an option or a check that there is not.

    Example:
        >>> check_mechanism("swin:window=2", checks=["shape"], sites=[Site(height=4, width=4, dim=24, heads=3)])
    """
    report = check(mechanism, checks=checks, sites=sites, **options)
    if not report.passed:
        raise AssertionError(str(report))


def _loaded(mechanism: str | type[nn.Module]) -> tuple[type[Mechanism], str, Mapping[str, Any]]:
    """Return the class, where it comes from, and the options that its name carries."""
    if not isinstance(mechanism, str):
        return (mechanism if issubclass(mechanism, Mechanism) else adapt(mechanism)), mechanism.__module__, {}
    name, given = option_syntax.split(mechanism)
    plugin = discover().find(name)
    loaded = plugin.load()
    return loaded, plugin.distribution, option_syntax.resolve(loaded, given)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """Writes the line that runs one check again."""

    mechanism: str | type[nn.Module]
    options: Mapping[str, object]
    sites: Sequence[Site]

    def of(self, check: str, site: object = None) -> str:
        imports = "from attnbench.testing import Site, check_mechanism"
        if isinstance(self.mechanism, str):
            subject = repr(self.mechanism)
        else:
            subject = self.mechanism.__qualname__
            imports += f"; from {self.mechanism.__module__} import {subject}"
        arguments = [subject, f"checks=[{check!r}]"]
        sites = [site] if isinstance(site, Site) else self.sites
        if sites is not SITES:
            arguments.append(f"sites=[{', '.join(written(each) for each in sites)}]")
        arguments += [f"{name}={value!r}" for name, value in self.options.items()]
        return f'python -c "{imports}; check_mechanism({", ".join(arguments)})"'


def _judged(name: str, candidate: Candidate, line: _Line) -> CheckResult:
    expected = (inspect.getdoc(CHECKS[name]) or "").rstrip(".")
    advice, site = "", None
    try:
        with torch_state.restored(), generators_kept():
            outcome, found = CheckOutcome.PASSED, CHECKS[name](candidate)
    except NotClaimedError as error:
        outcome, found = CheckOutcome.NOT_CLAIMED, str(error)
    except BrokenError as error:
        outcome, found, advice, site = CheckOutcome.FAILED, error.found, error.advice, error.site
        expected = error.expected or expected
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a mechanism under check may raise anything; an exit would pass for success
        outcome, found = CheckOutcome.FAILED, in_a_line(error)
    return CheckResult(
        check=name, outcome=outcome, expected=expected, found=found, advice=advice, reproduce=line.of(name, site)
    )


def _not_run(name: str, fallen: str, line: _Line) -> CheckResult:
    expected = (inspect.getdoc(CHECKS[name]) or "").rstrip(".")
    found = f"fix {fallen} first"
    return CheckResult(
        check=name, outcome=CheckOutcome.NOT_RUN, expected=expected, found=found, reproduce=line.of(name)
    )
