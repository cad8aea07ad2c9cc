"""The command that answers with a choice: ``advise``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attnbench import inert
from attnbench.advice.quantities import example, quantity
from attnbench.cli import invocation
from attnbench.errors import UsageError
from attnbench.metrics import METRICS, Better

if TYPE_CHECKING:
    from attnbench.advice.question import Limit, Price
    from attnbench.record import Record

_LIMITED = {metric.budget: name for name, metric in METRICS.items() if metric.budget}
_OPTIONS = {
    f"{'max' if METRICS[name].better is Better.LOWER else 'min'}-{word}": name for word, name in _LIMITED.items()
}
"""Metrics by the options that limit them."""


def _limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option, name in reversed(_OPTIONS.items()):
        which = f"{'Most' if option.startswith('max') else 'Least'} {METRICS[name].label.partition(' (')[0]}"
        command = click.option(f"--{option}", metavar="LIMIT", help=f"{which}, such as {example(name)}.")(command)
    return command


@click.command(short_help="Say which mechanism to take for a resolution and a budget.")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--res", required=True, metavar="SIZE", help="Image size, 768 or 768x1344 (height x width).")
@_limit_options
@click.option("--best-by", default="latency", show_default=True, help="What the best is the best by, a word of those.")
@click.option("--under", default="", help="Only under conditions that hold this text, such as 'cuda' or 'batch 8'.")
@click.option(
    "--per-image-cost",
    "prices",
    multiple=True,
    metavar="MACHINE=DOLLARS",
    help="Dollars an hour of machines whose name holds MACHINE: what a million images cost there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def advise(  # noqa: PLR0917 - click passes options by name
    folders: tuple[Path, ...],
    res: str,
    best_by: str,
    under: str,
    prices: tuple[str, ...],
    as_json: bool,
    **limits: str | None,
) -> None:
    """Say from the runs in FOLDERS which mechanism is the best that keeps the limits, the runner-up, and how sure.

    A latency is the median of its calls. Between resolutions that were measured, figures are read off the curve, and
    said to be. Exit status 1 where none fits.
    """
    from attnbench.advice import plain, words  # noqa: PLC0415 - pandas
    from attnbench.advice.choice import advise as answer  # noqa: PLC0415
    from attnbench.advice.question import Question  # noqa: PLC0415
    from attnbench.axes import resolution  # noqa: PLC0415
    from attnbench.errors import did_you_mean  # noqa: PLC0415
    from attnbench.report.findings import Findings  # noqa: PLC0415
    from attnbench.report.page.screen import show  # noqa: PLC0415
    from attnbench.runs import limits as machine_limits  # noqa: PLC0415
    from attnbench.runs import reporting  # noqa: PLC0415

    mistakes: list[str] = []
    try:
        height, width = resolution(res)
    except ValueError as error:
        raise UsageError(f"--res {res}: {error}") from None
    if best_by not in _LIMITED:
        mistakes.append(f"--best-by {best_by}: {did_you_mean(best_by, _LIMITED)}")
    asked = [_limit(option, limits[option.replace("-", "_")], mistakes) for option in _OPTIONS]
    given = [_price(text, mistakes) for text in prices]
    if mistakes:
        raise UsageError(*mistakes)
    question = Question(
        height=height,
        width=width,
        limits=tuple(filter(None, asked)),
        goal=_LIMITED[best_by],
        under=under,
        prices=tuple(filter(None, given)),
    )
    records = [record for folder in folders for record in reporting.read(folder)]
    findings = Findings.of(records, limits=machine_limits.of_all(folders))
    answers = answer(findings, question)
    if not answers:
        known = "; ".join([*findings.constants]) or "no rows"
        raise UsageError(f"--under {under!r}: no row was measured under such conditions; there are {known}")
    constants = findings.constants
    if there := _elsewhere(records):
        click.echo(f"attnbench: {inert.line(there)}", err=True)
    commands = words.command(answers, {record.cell.key: record.cell for record in records}, question)
    if as_json:
        click.echo(json.dumps(plain.plain(answers, question, constants=constants, commands=commands), indent=2))
    else:
        page = words.page(answers, question, constants=constants, commands=commands)
        show(page, invocation.console())
    if not any(each.choice for each in answers):
        sys.exit(invocation.GATE_FAILED)


def _elsewhere(records: Sequence[Record]) -> str:
    """Return which machines rows are of, where this is none of them; empty where it is one."""
    from attnbench.devices import gpus, identity, machine, names  # noqa: PLC0415 - asks the system

    here = (machine.cpu().model, *gpus.names())
    known = dict.fromkeys(identity.hardware(record.environment) for record in records)
    there = [name for name in known if name]
    if not there or any(names.is_named(own, there) for own in here):
        return ""
    return f"measured on {'; '.join(there)}, and this machine is another, {', '.join(here)}"


def _limit(option: str, text: str | None, mistakes: list[str]) -> Limit | None:
    from attnbench.advice.question import Limit  # noqa: PLC0415 - pandas

    if text is None:
        return None
    metric = _OPTIONS[option]
    try:
        return Limit(metric=metric, value=quantity(text, metric))
    except ValueError as error:
        mistakes.append(f"--{option}: {error}")
        return None


def _price(text: str, mistakes: list[str]) -> Price | None:
    from attnbench.advice.question import Price  # noqa: PLC0415

    machine, _, dollars = text.rpartition("=")
    try:
        value = float(dollars)
    except ValueError:
        value = 0.0
    if not machine or not 0 < value < 1e6:
        mistakes.append(f"--per-image-cost {text}: expected a machine and its dollars an hour, such as h100=3.2")
        return None
    return Price(machine=machine, dollars_per_hour=value, on=date.today().isoformat())
