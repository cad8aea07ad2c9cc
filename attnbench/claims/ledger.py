"""Ledgers: the claims of a mechanism's paper, one figure each, in a ``claims.toml`` beside its code.

Finding and reading ledgers imports no plugin and no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from attnbench import files
from attnbench.axes import AXES, texts
from attnbench.claims import arithmetic
from attnbench.claims.claim import AXES_OF_A_CHECK, CERTAINTIES, UNITS, Check, Claim, Reason, Take
from attnbench.errors import UsageError, did_you_mean
from attnbench.metrics import METRICS
from attnbench.plugins import source
from attnbench.plugins.registry import Plugin
from attnbench.reading import MisreadError, given_as, structured


def find(plugins: Iterable[Plugin]) -> list[Claim]:
    """Return the claims of plugins, in the order of their ledgers; those without a ledger have none.

    Raises:
        UsageError: a ledger cannot be read, or what stands in it is no claim; all mistakes of all ledgers.
    """
    found: list[Claim] = []
    mistakes: list[str] = []
    for path, name in _ledgers(plugins).items():
        try:
            found += [replace(claim, mechanism=name) for claim in read(path)]
        except UsageError as error:
            mistakes += error.mistakes
    ids = [claim.id for claim in found]
    mistakes += [f"claim {one!r} stands in more than one ledger" for one in dict.fromkeys(ids) if ids.count(one) > 1]
    if mistakes:
        raise UsageError(*mistakes)
    return found


def read(path: Path) -> list[Claim]:
    """Return the claims of one ledger.

    Raises:
        UsageError: the file cannot be read, or what stands in it is no claim; all its mistakes.
    """
    try:
        content = files.toml_of(path, parse_float=Decimal)
    except MisreadError as error:
        raise UsageError(*error.mistakes) from None
    found, mistakes = (
        [],
        [f"{path}: unknown name {name!r}; claims stand under [[claim]]" for name in content.keys() - {"claim"}],
    )
    entries = content.get("claim", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(*mistakes, f"{path}: 'claim' is no array of tables; write [[claim]] above each")
    for place, entry in enumerate(entries, start=1):
        try:
            found.append(_claim(entry))
        except ValueError as error:
            mistakes.append(f"{path}: claim {given_as(entry.get('id', place))}: {error}")
    ids = [claim.id for claim in found]
    mistakes += [f"{path}: claim {one!r} is there twice" for one in dict.fromkeys(ids) if ids.count(one) > 1]
    if mistakes:
        raise UsageError(*mistakes)
    return found


def _ledgers(plugins: Iterable[Plugin]) -> dict[Path, str]:
    """Return the ledgers that are there, each with the first plugin that it belongs to."""
    found: dict[Path, str] = {}
    for plugin in plugins:
        for path in _places(source.file_of(plugin)):
            if path.is_file():
                found.setdefault(path, plugin.name)
                break
    return found


def _places(module: Path | None) -> Sequence[Path]:
    """Return where a module's ledger may be: beside it under its name, or in its package."""
    if module is None:
        return ()
    in_package = module.with_name("claims.toml")
    if module.name == "__init__.py":
        return (in_package,)
    of_module = module.with_suffix(".claims.toml")
    return (of_module, in_package) if module.with_name("__init__.py").is_file() else (of_module,)


def _claim(entry: Mapping[str, Any]) -> Claim:
    given = dict(entry)
    if "check" in given:
        given["check"] = _check(_table("check", given["check"]))
    reasons = given.get("reasons", [])
    if not isinstance(reasons, list):
        raise ValueError(f"reasons: expected a list, got {given_as(reasons)}")
    given["reasons"] = [_reason(_table("reasons", reason), given.get("check")) for reason in reasons]
    if "mechanism" in given:
        raise ValueError("unknown name 'mechanism'; a claim is of the mechanism beside whose code its ledger lies")
    claim = structured(given, Claim)
    _refuse_contradictions(claim)
    return claim


def _check(entry: Mapping[str, Any]) -> Check:
    given = {name: value for name, value in entry.items() if name not in AXES_OF_A_CHECK}
    _refuse_unknown(given)
    given |= {name: _listed(given[name]) for name in ("values", "dim") if name in given}
    if "values" in given:
        given["values"] = [str(one) for one in given["values"]]
    given["symbols"] = _symbols(given.get("symbols", {}))
    given.setdefault("scope", "network" if given.get("network") else "layer")
    given["axes"] = [(name, texts(entry[name])) for name in AXES_OF_A_CHECK if name in entry]
    check = structured(given, Check)
    _refuse_wrong_names(check)
    _refuse_half_an_axis(check)
    for formula in filter(None, (check.formula, check.left_out)):
        arithmetic.parse(formula, names={"N", "H", "W", "C", "h", "d", *dict(check.symbols)})
    return check


def _refuse_wrong_names(check: Check) -> None:
    for metric in filter(None, (check.metric, check.less, check.plus)):
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}; {did_you_mean(metric, METRICS)}")
    for option, values in check.axes:
        for value in values:
            _refuse_unreadable(option, value)
    if bool(check.mechanism) == bool(check.network):
        raise ValueError("a check names either a mechanism or a network")


def _refuse_unreadable(option: str, value: str) -> None:
    try:
        AXES[option].read(value)
    except ValueError as error:
        raise ValueError(f"{option} {value!r}: {error}") from None


def _refuse_half_an_axis(check: Check) -> None:
    if bool(check.along) != bool(check.values):
        raise ValueError("'along' names an option and 'values' its values; give both")
    if check.take is Take.EXPONENT and not check.formula:
        _refuse_text_along(check, "an exponent is fitted")


def _reason(entry: Mapping[str, Any], check: Check | None) -> Reason:
    given = dict(entry)
    if check is None or "says" not in given:
        raise ValueError("a reason says why, and changes the claim's check")
    says = given.pop("says")
    if not given:
        raise ValueError(f"reason {says!r} changes nothing in the check, so that it cannot be tested")
    as_written = {f.name: getattr(check, f.name) for f in fields(Check) if f.name != "axes"} | dict(check.axes)
    return Reason(says=says, check=_check(as_written | given))


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    names = [*(each.name for each in fields(Check) if each.name != "axes"), *AXES_OF_A_CHECK]
    for name in given:
        if name not in names:
            raise ValueError(f"unknown name {name!r}; {did_you_mean(name, names)}")


def _refuse_contradictions(claim: Claim) -> None:
    if claim.unit not in UNITS:
        raise ValueError(f"unknown unit {claim.unit!r}; known: {', '.join(filter(None, UNITS))}")
    if claim.certainty not in CERTAINTIES:
        raise ValueError(f"certainty {claim.certainty!r}; expected {', '.join(CERTAINTIES)}")
    if isinstance(claim.value, Decimal) and not (claim.value.is_finite() and _is_a_float(claim.value)):
        raise ValueError(f"value {claim.value} is no figure")
    if claim.plot and claim.check:
        _refuse_text_along(claim.check, f"the plot {claim.plot!r} is drawn")
        if not claim.check.over:
            raise ValueError(f"the plot {claim.plot!r} shows a ratio; give the other side as 'over'")
    formula = claim.check.formula if claim.check else ""
    if isinstance(claim.value, str) and not formula and not claim.missing:
        raise ValueError(f"value {claim.value!r} is a text; a number is needed, or a check with a formula")
    if claim.check is None and not (claim.data or claim.hardware or claim.missing):
        raise ValueError("there is no check; say with data, hardware or missing why")


def _is_a_float(value: Decimal) -> bool:
    """Whether a number and its last digit are neither too large nor too small for a float."""
    return max(abs(value.adjusted()), abs(int(value.as_tuple().exponent))) < 300


def _refuse_text_along(check: Check, what: str) -> None:
    try:
        finite = [math.isfinite(float(value)) for value in check.values]
    except ValueError:
        finite = []
    if not finite or not all(finite):
        raise ValueError(f"{what} along an option whose 'values' are numbers, got {', '.join(check.values) or 'none'}")


def _symbols(given: object) -> Sequence[Any]:
    """Return symbols with their values, from a table or as a check that was read before has them."""
    return given if isinstance(given, tuple) else list(_table("symbols", given).items())


def _table(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: expected names with values, got {given_as(value)}")
    return value


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)
