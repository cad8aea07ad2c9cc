"""Claims from their ledgers to their verdicts: what can be measured here is, in one sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from attnbench.claims import ledger, plan, verdict
from attnbench.claims.answer import Unanswered, answer
from attnbench.claims.claim import Check, Claim
from attnbench.claims.plan import Means
from attnbench.claims.verdict import Found, Judgement
from attnbench.devices import gpus
from attnbench.errors import StoreError, UsageError
from attnbench.metrics import Needs
from attnbench.plan.given import settings_of
from attnbench.plan.reading import duplicates
from attnbench.plugins.registry import Plugin, discover
from attnbench.record import Record
from attnbench.report import claims as claim_pages
from attnbench.report.environments import describe_all
from attnbench.report.page import markdown
from attnbench.report.page.screen import screen
from attnbench.report.plots import claims as claim_plots
from attnbench.runs import session
from attnbench.runs.job import Settings

RESULTS = Path("results") / "claims"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Every claim with its verdict, and what it rests on."""

    judgements: tuple[Judgement, ...]
    records: tuple[Record, ...]
    interrupted: bool


def run(
    mechanisms: Sequence[str],
    given: Mapping[str, Any],
    *,
    out: Path | None,
    fresh: bool,
    retry: bool = False,
    markdown: Path | None,
    console: Console,
    command: str,
) -> bool:
    """Judge the claims of mechanisms, show the verdicts and write the page; return whether that was interrupted.

    Args:
        mechanisms: whose claims, all that have a ledger if none is named.
        given: options by the names of the command line.
        out: folder of the run.
        fresh: put what the folder holds aside.
        retry: measure again what did not end ok.
        markdown: the page to write.
        console: where verdicts are shown.
        command: what was typed.

    Raises:
        PluginError: there is no mechanism of a name.
        UsageError: a ledger cannot be read, or an option cannot be used.
        StoreError: a folder or the page cannot be written.
    """
    settings = settings_of(given)
    means = Means(
        threads=given["threads"],
        device=given.get("device") or "auto",
        dataset=given.get("accuracy") or "",
        checkpoint=given.get("checkpoint") or (),
        until=given["until"],
        timeout_s=settings.timeout_s,
    )
    folder = out or RESULTS
    claims = claims_of(mechanisms)
    found = judge(
        claims, means, settings=settings, folder=folder, fresh=fresh, retry=retry, console=console, command=command
    )
    if found.interrupted:
        return True
    console.print(screen(claim_pages.brief(found.judgements)))
    plots = claim_plots.draw(found.judgements, folder / "plots")
    if markdown is not None:
        _write_page(found, markdown, plots, command)
        console.print(Text(str(markdown)), soft_wrap=True)
    return False


def _write_page(found: Audit, file: Path, plots: Iterable[Path], command: str) -> None:
    page = claim_pages.page(
        found.judgements,
        command_line=command,
        environments=describe_all(record.environment for record in found.records),
        disturbances=claim_pages.disturbances(found.records),
        plots=plots,
    )
    markdown.put(page, file)


def claims_of(mechanisms: Sequence[str]) -> list[Claim]:
    """Return the claims of the mechanisms named, of all installed ones if none is.

    Raises:
        PluginError: there is no mechanism of a name.
        UsageError: a ledger cannot be read, or none of them has one.
    """
    if repeated := duplicates("mechanisms", mechanisms):
        raise UsageError(*repeated)
    registry = discover()
    plugins: Iterable[Plugin] = [registry.find(name) for name in mechanisms] or registry.plugins.values()
    found = ledger.find(plugins)
    if not found:
        names = ", ".join(plugin.name for plugin in plugins)
        raise UsageError(f"no ledger beside {names}; write claims.toml in a package, mine.claims.toml beside mine.py")
    return found


def judge(
    claims: Sequence[Claim],
    means: Means,
    *,
    settings: Settings,
    folder: Path,
    fresh: bool,
    retry: bool = False,
    console: Console,
    command: str = "",
) -> Audit:
    """Measure what this machine can and judge every claim.

    Raises:
        StoreError: the folder cannot be written, or what is in it cannot be read.
        UsageError: a device or a number of threads that no check can be made with.
    """
    hardware = "" if means.device == "cpu" else ", ".join(gpus.names())
    checks = plan.checks_of(claims, hardware, means)
    planned = plan.plan(checks, means)
    energy = any(Needs.ENERGY in plan.needs(check) for check in checks)
    measured = session.measure(
        planned.sweep,
        settings=replace(settings, energy=energy),
        folder=folder,
        fresh=fresh,
        retry=retry,
        console=console,
        command=command,
    )
    if measured.stopped:
        raise StoreError(measured.stopped)
    records = {record.cell.key: record for record in measured.records}

    def outcome(check: Check) -> Found:
        if check in planned.unplanned:
            return planned.unplanned[check]
        try:
            return answer(check, planned.points[check], records, folder / "samples")
        except Unanswered as why:
            return str(why)

    outcomes = {check: outcome(check) for check in checks}
    return Audit(
        judgements=tuple(verdict.judge(claim, outcomes, hardware=hardware) for claim in claims),
        records=measured.records,
        interrupted=measured.interrupted,
    )
