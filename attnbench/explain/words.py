"""Profiles side by side for people: a sentence first, then the parts, then the heaviest operators."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attnbench.devices import names as devices
from attnbench.explain.asking import Explained
from attnbench.explain.categories import CATEGORIES, category, launches, seconds
from attnbench.explain.latencies import latency_s
from attnbench.explain.profiles import CallProfile
from attnbench.report import naming
from attnbench.report.page.blocks import (
    Align,
    Block,
    Code,
    Column,
    Heading,
    Listing,
    Page,
    Paragraph,
    Piece,
    Table,
    Tone,
    Words,
)

_TOO_MUCH = 1.5
"""From how many times as long under the profiler on parts of a call are the profiler's more than the call's."""
HEAVIEST = 8
"""Operators of each cell that are shown; all are in the data."""
_ALIKE = 1.05
"""Ratio up to which two calls are taken for the same: what a few calls scatter by."""
_SHORT = 48
"""Characters of an operator's name that are shown."""


def conclusion(profiles: Mapping[str, CallProfile]) -> str:
    """Return in a sentence what takes the slowest longer than the quickest, or what one spends its time in.

    Which is slower, and how much, is by calls without the profiler.

    Args:
        profiles: by the cells' names, one at least.
    """
    slow, quick = _ends(profiles)
    if slow != quick:
        return _between(slow, quick, profiles)
    spent = seconds(profiles[slow])
    most = max(spent, key=lambda name: spent[name])
    grown = _grown(profiles[slow])
    under = f", under a profiler that makes it {_times(grown)} times as long" if grown > _TOO_MUCH else ""
    return f"{slow} spends {100 * spent[most] / sum(spent.values()):.0f} % of a call in {most}{under}."


def _between(slow: str, quick: str, profiles: Mapping[str, CallProfile]) -> str:
    one, other = profiles[slow], profiles[quick]
    if one.plain_s <= _ALIKE * other.plain_s:
        return f"{slow} takes as long as {quick} within {100 * (_ALIKE - 1):.0f} %."
    begin = f"{slow} takes {_times(one.plain_s / other.plain_s)} times as long as {quick}"
    total = one.total_s - other.total_s
    grown = [_grown(one), _grown(other)]
    if max(grown) > _TOO_MUCH or total <= 0:
        sizes = " and ".join(map(_times, grown))
        return f"{begin}; why is not to be said, since the profiler makes their calls {sizes} times as long."
    more = _more(one, other)
    most = max(more, key=lambda name: more[name])
    if more[most] <= total:
        return f"{begin}: {100 * more[most] / total:.0f} % of the difference is {most}."
    won = more[most] - total
    return f"{begin}: the largest part, {most}, is {_ms(more[most])} ms more, and others win back {_ms(won)} ms."


def _grown(profile: CallProfile) -> float:
    """Return how many times as long as a call its parts are."""
    return profile.total_s / profile.plain_s if profile.plain_s else 1.0


def _times(ratio: float) -> str:
    return f"{ratio:.2g}" if ratio < 10 else f"{ratio:,.0f}"


def page(found: Sequence[Explained], *, folder: Path, left_out: str = "") -> Page:
    """Return what was found, the conclusion first."""
    return tuple(_blocks(found, folder, left_out))


def _blocks(found: Sequence[Explained], folder: Path, left_out: str) -> Iterator[Block]:
    cells = [each.record.cell for each in found]
    names = naming.names(cells)
    done = {names[each.record.cell.key]: each.profile for each in found if each.profile}
    if done:
        yield Paragraph(Piece(conclusion(done), Tone.STRONG))
        yield from _others(done)
        yield Heading(text=f"Milliseconds of a call, {naming.shared(cells)}")
        yield _parts(found, names)
        yield from _operators(done)
    failed = [(names[each.record.cell.key], each.failure) for each in found if each.failure]
    if failed:
        yield Heading(text="Not profiled")
        yield Listing(points=tuple((Piece(name, Tone.BAD), f": {why}") for name, why in failed))
    yield Listing(points=tuple(_notes(found, left_out)))
    commands = [line for each in found if (line := _ncu(folder, each))]
    if commands:
        yield Heading(text="Each kernel by itself, by NVIDIA's profiler")
        yield Code(text="\n".join(commands))


def _others(done: Mapping[str, CallProfile]) -> Iterator[Block]:
    slow, quick = _ends(done)
    rest = [name for name in done if name not in {slow, quick}]
    if rest:
        yield Listing(points=tuple(_between(name, quick, done) for name in rest))


def _parts(found: Sequence[Explained], names: Mapping[str, str]) -> Table:
    done = [(names[each.record.cell.key], each, each.profile) for each in found if each.profile]
    spent = [seconds(profile) for _, _, profile in done]
    ran = [launches(profile) for _, _, profile in done]
    taken = [part for part in CATEGORIES if any(part in each for each in spent)]
    rows: list[tuple[Words, ...]] = [(part, *(_part(each.get(part, 0.0), each) for each in spent)) for part in taken]
    rows.append((Piece("all", Tone.STRONG), *(Piece(_ms(p.total_s), Tone.STRONG) for _, _, p in done)))
    if any(p.attention_s is not None for _, _, p in done):
        rows.append(("within the attention layers", *(_attention(p) for _, _, p in done)))
    what = "kernels" if any(p.on_device for _, _, p in done) else "operators"
    rows.append((f"{what} a call", *(f"{sum(each.values()):,.0f}" for each in ran)))
    rows.append(("a call, profiled", *(_ms(p.profiled_s) for _, _, p in done)))
    rows.append(("a call, not profiled", *(_ms(p.plain_s) for _, _, p in done)))
    rows.append(("a call in the run", *(_ms(latency) if (latency := latency_s(e)) else "" for _, e, _ in done)))
    headings = (Column(heading=name, align=Align.RIGHT) for name, _, _ in done)
    return Table(columns=(Column(heading=""), *headings), rows=tuple(rows))


def _operators(done: Mapping[str, CallProfile]) -> Iterator[Block]:
    for name, profile in done.items():
        yield Heading(text=f"The heaviest of {name}", level=3)
        rows = tuple(
            (
                each.name if len(each.name) <= _SHORT else f"{each.name[: _SHORT - 3]}...",
                _ms(each.self_s),
                f"{100 * each.self_s / profile.total_s:.0f} %",
                f"{each.launches:,.10g}",
                category(each.name),
            )
            for each in profile.operators[:HEAVIEST]
        )
        sides = {"ms": Align.RIGHT, "share": Align.RIGHT, "runs a call": Align.RIGHT}
        columns = ("kernel" if profile.on_device else "operator", "ms", "share", "runs a call", "category")
        yield Table(
            columns=tuple(Column(heading=each, align=sides.get(each, Align.LEFT)) for each in columns), rows=rows
        )


def _notes(found: Sequence[Explained], left_out: str) -> Iterator[Words]:
    costs = [each.profile.profiled_s / each.profile.plain_s for each in found if each.profile and each.profile.plain_s]
    if costs:
        low, high = _times(min(costs)), _times(max(costs))
        size = low if low == high else f"{low} to {high}"
        yield (
            f"These times are not the run's latencies: calls took {size} times as long under the profiler, most of "
            "which falls to small operators and the Python between them; caches are as the call before left them, and "
            "cells are not called in turn."
        )
    if any(each.profile and each.profile.on_device for each in found):
        yield "Waiting for the host is a call without the profiler less the time in which kernels ran."
    if any(each.elsewhere for each in found):
        yield "The run was measured in another environment than this one: another machine, software or settings."
    if left_out:
        yield f"Left out: {left_out}."


def _ncu(folder: Path, one: Explained) -> str:
    """Return the command that has NVIDIA's profiler look at each kernel of a call; empty where there are none."""
    if devices.kind(one.record.cell.device) != devices.PRINTED or not one.profile:
        return ""
    child = ["python", "-m", "attnbench.worker.explaining", str(folder), one.record.cell.key]
    return shlex.join(["ncu", "--set", "full", "--nvtx", "--nvtx-include", "regex:attnbench.*/", *child])


def _ends(profiles: Mapping[str, CallProfile]) -> tuple[str, str]:
    """Return the slowest and the quickest."""
    ordered = sorted(profiles, key=lambda name: profiles[name].plain_s)
    return ordered[-1], ordered[0]


def _more(slow: CallProfile, quick: CallProfile) -> dict[str, float]:
    one, other = seconds(slow), seconds(quick)
    return {name: one.get(name, 0.0) - other.get(name, 0.0) for name in CATEGORIES}


def _part(value: float, spent: Mapping[str, float]) -> str:
    return "" if not value else f"{_ms(value)}  {100 * value / sum(spent.values()):3.0f} %"


def _attention(profile: CallProfile) -> str:
    if profile.attention_s is None:
        return ""
    return f"{_ms(profile.attention_s)}  {100 * profile.attention_s / profile.total_s:3.0f} %"


def _ms(value_s: float) -> str:
    value = 1e3 * value_s
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
