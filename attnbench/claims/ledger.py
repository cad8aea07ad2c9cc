"""Ledgers: the claims of a mechanism's paper, one figure each, in a ``claims.toml`` beside its code.

Finding and reading ledgers imports no plugin and no torch.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from attnbench import source
from attnbench.claims import arithmetic
from attnbench.errors import UsageError, did_you_mean
from attnbench.metrics import METRICS
from attnbench.registry import Plugin

UNITS: Mapping[str, float] = {
    "": 1.0, "x": 1.0, "img/s": 1.0, "MACs": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "ms": 1e-3, "s": 1.0, "%": 0.01,
    "MiB": 2.0**20, "GB": 1e9,
}  # fmt: skip
"""Units that a claim may be stated in, each in the unit of its metric."""
UNMEASURED = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AP box", "AP mask", "mIoU", "training memory")
"""Quantities that claims are about and no probe measures."""


class Relation(StrEnum):
    """What a claim says of its figure."""

    EQUAL = "equal"
    AT_LEAST = "at least"
    AT_MOST = "at most"
    ABOVE = "above"
    """The whole interval lies above the figure."""
    BELOW = "below"


class Take(StrEnum):
    """Which figure is taken from what a check measures."""

    VALUE = "value"
    LARGEST = "largest"
    SMALLEST = "smallest"
    EXPONENT = "exponent"
    """Of the growth: along an option, or against a formula over the sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How a claim is measured: the axes of a sweep, and what is made of its records."""

    metric: str
    mechanism: str = ""
    """Mechanism with its options, or empty for a network."""
    network: str = ""
    over: str = ""
    """The other side of a ratio, of the same kind; timed in turn with the first."""
    less: str = ""
    """Metric that is taken off, such as ``macs_attention`` where a paper leaves the products out."""
    formula: str = ""
    """What the paper prints, in N, H, W, C, h, d and ``symbols``."""
    left_out: str = ""
    """What is in the measured figure and not in the formula, in the same symbols."""
    symbols: tuple[tuple[str, float], ...] = ()
    """Further symbols of the formula."""
    along: str = ""
    """Option that both sides are given in turn, where they have it."""
    values: tuple[str, ...] = ()
    """Of that option."""
    take: Take = Take.VALUE
    scope: str = ""
    res: tuple[str, ...] = ("224",)
    task: str = ""
    mode: tuple[str, ...] = ("infer",)
    batch: str = "1"
    stage: tuple[str, ...] = ("3",)
    dim: tuple[int, ...] = ()
    head_dim: int = 0
    """Channels of a head, where a layer's heads are not the stage's."""
    depth: int = 1

    @property
    def wanted(self) -> tuple[str, ...]:
        """The sides, as written."""
        return tuple(filter(None, (self.mechanism or self.network, self.over)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a figure may differ, and the check under which it must not if that is why."""

    says: str
    check: Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One figure that somebody stated."""

    id: str
    says: str
    quantity: str
    value: Decimal | str
    """The figure as printed, its last digit telling how exact it is; a formula as text."""
    unit: str = ""
    conditions: str = ""
    source: str
    certainty: str
    """``verbatim`` from the paper or its code, ``secondary`` from who quotes it, ``derived`` from what it prints."""
    relation: Relation = Relation.EQUAL
    check: Check | None = None
    reasons: tuple[Reason, ...] = ()
    hardware: str = ""
    """GPU that the figure was measured on, empty if it depends on none."""
    data: str = ""
    """Data set that the figure needs."""
    missing: str = ""
    """What the source does not say, without which nobody can check the figure."""
    would: str = ""
    """What would check it, where no command of attnbench does."""
    plot: str = ""
    """Name of the plot that shows the figure, for those that vary along an option."""
    mechanism: str = ""
    """Whose ledger it stands in."""

    @property
    def tolerance(self) -> float:
        """Half of the last digit printed, in the claim's unit; 0 for a formula."""
        if isinstance(self.value, str):
            return 0.0
        return 0.5 * 10.0 ** int(self.value.as_tuple().exponent)


CERTAINTIES = ("verbatim", "secondary", "derived")


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
        content = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    found, mistakes = (
        [],
        [f"{path}: unknown name {name!r}; claims stand under [[claim]]" for name in content.keys() - {"claim"}],
    )
    for place, entry in enumerate(content.get("claim", []), start=1):
        try:
            found.append(_claim(entry))
        except (ValueError, TypeError) as error:
            mistakes.append(f"{path}: claim {entry.get('id', place)!r}: {error}")
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
        given["check"] = _check(given["check"])
    given["reasons"] = tuple(_reason(reason, given.get("check")) for reason in given.get("reasons", ()))
    _refuse_unknown(Claim, given, hidden={"mechanism"})
    given["relation"] = Relation(given.get("relation", "equal"))
    given["value"] = given["value"] if isinstance(given["value"], str) else Decimal(given["value"])
    claim = Claim(**given)
    _refuse_contradictions(claim)
    return claim


def _check(entry: Mapping[str, Any]) -> Check:
    given = dict(entry)
    _refuse_unknown(Check, given)
    for name in ("res", "mode", "stage", "values"):
        if name in given:
            given[name] = tuple(str(one) for one in _listed(given[name]))
    if "dim" in given:
        given["dim"] = tuple(int(one) for one in _listed(given["dim"]))
    given["symbols"] = tuple((name, float(value)) for name, value in dict(given.get("symbols", {})).items())
    given["take"] = Take(given.get("take", "value"))
    given.setdefault("scope", "network" if given.get("network") else "layer")
    given["batch"] = str(given.get("batch", 1))
    check = Check(**given)
    for metric in filter(None, (check.metric, check.less)):
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}; {did_you_mean(metric, METRICS)}")
    if bool(check.mechanism) == bool(check.network):
        raise ValueError("a check names either a mechanism or a network")
    if bool(check.along) != bool(check.values):
        raise ValueError("'along' names an option and 'values' its values; give both")
    for formula in filter(None, (check.formula, check.left_out)):
        arithmetic.parse(formula, names={"N", "H", "W", "C", "h", "d", *dict(check.symbols)})
    return check


def _reason(entry: Mapping[str, Any], check: Check | None) -> Reason:
    given = dict(entry)
    if check is None or "says" not in given:
        raise ValueError("a reason says why, and changes the claim's check")
    says = given.pop("says")
    if not given:
        raise ValueError(f"reason {says!r} changes nothing in the check, so that it cannot be tested")
    as_written = {f.name: getattr(check, f.name) for f in fields(Check) if f.name not in given}
    return Reason(says=says, check=_check(as_written | given))


def _refuse_unknown(kind: type[Claim] | type[Check], given: Mapping[str, Any], hidden: Iterable[str] = ()) -> None:
    known = {f.name: f for f in fields(kind) if f.name not in set(hidden)}
    for name in given:
        if name not in known:
            raise ValueError(f"unknown name {name!r}; {did_you_mean(name, known)}")
    needed = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    lacking = [name for name in needed if name not in given]
    if lacking:
        raise ValueError(f"lacks {', '.join(lacking)}")


def _refuse_contradictions(claim: Claim) -> None:
    if claim.unit not in UNITS:
        raise ValueError(f"unknown unit {claim.unit!r}; known: {', '.join(filter(None, UNITS))}")
    if claim.certainty not in CERTAINTIES:
        raise ValueError(f"certainty {claim.certainty!r}; expected {', '.join(CERTAINTIES)}")
    formula = claim.check.formula if claim.check else ""
    if isinstance(claim.value, str) and not formula and not claim.missing:
        raise ValueError(f"value {claim.value!r} is a text; a number is needed, or a check with a formula")
    if claim.check is None and not (claim.data or claim.hardware or claim.missing):
        raise ValueError("there is no check; say with data, hardware or missing why")


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)
