"""How proxies rank networks, as a page. Imports no torch."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from attnbench.calibration.published import NETWORKS, PublishedNetwork
from attnbench.calibration.ranking import RankCorrelation, Ranking, compare
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

if TYPE_CHECKING:
    from attnbench.calibration.training import ProxyScore

_TOLD = 0.1
"""The part of the way from guessing to all that a score has to be above guessing to be told from it."""
_HEADINGS = ("Spearman", "Kendall", "pairs of a family in order", "told from guessing")
_PARAMETERS = "published parameters"
_MEANING = (
    "Rank correlations between what narrow networks come to on a proxy and the top-1 that is published for the whole "
    "ones on ImageNet, each with a 95 % interval: percentiles of a bootstrap over networks. Networks of one family are "
    "not independent of each other, so that the intervals are rather too narrow than too wide."
)


class Proxy:
    """The scores of one proxy, and the ranking that they make."""

    def __init__(self, name: str, scores: Sequence[ProxyScore]) -> None:
        self.name = name
        of = {network: [each.share for each in scores if each.network == network] for network in NETWORKS}
        self.shares = {network: statistics.fmean(found) for network, found in of.items() if found}
        self.chance = statistics.fmean(each.chance for each in scores)
        self.ranking = _ranking(self.shares)

    @property
    def told(self) -> int:
        """Networks whose score is told from guessing."""
        least = self.chance + _TOLD * (1 - self.chance)
        return sum(share > least for share in self.shares.values())

    @property
    def verdict(self) -> Words:
        """What the proxy is good for, in a sentence."""
        if self.ranking is None:
            return Piece(f"{self.name}: of {len(self.shares)} networks only, which make no ranking", Tone.DOUBTFUL)
        if 2 * self.told < len(self.shares):
            said = f"it is learned by {self.told} of {len(self.shares)} networks, and the others only guess"
            return (Piece(f"{self.name} does not rank them: ", Tone.BAD), said)
        found = self.ranking.spearman
        if self.ranking.ranks:
            return (Piece(f"{self.name} ranks them: ", Tone.GOOD), f"Spearman's correlation is {_figure(found)}")
        if found.high < 0:
            said = f"the better the network, the lower its score, {_figure(found)}"
            return (Piece(f"{self.name} ranks them the wrong way round: ", Tone.BAD), said)
        said = f"Spearman's correlation, {_figure(found)}, is not told from none"
        return (Piece(f"{self.name} does not rank them: ", Tone.BAD), said)


def _ranking(values: dict[str, float]) -> Ranking | None:
    networks = [NETWORKS[name] for name in values]
    if len(networks) < 3:
        return None
    return compare([*values.values()], [each.top1 for each in networks], [each.family for each in networks])


def proxies(scores: Sequence[ProxyScore]) -> list[Proxy]:
    """Return what each proxy says, in the order in which they come."""
    names = dict.fromkeys(each.proxy for each in scores)
    return [Proxy(name, [each for each in scores if each.proxy == name]) for name in names]


def brief(found: Sequence[Proxy], failures: Sequence[str]) -> Page:
    """Return the verdicts and the correlations, for a screen."""
    blocks: list[Block] = [Listing(points=tuple(each.verdict for each in found)), _correlations(found)]
    if failures:
        blocks.append(Paragraph(Piece(f"Failed: {'; '.join(failures)}", Tone.BAD)))
    return tuple(blocks)


def page(
    found: Sequence[Proxy], failures: Sequence[str], *, command: str, machine: Sequence[str], trained: str
) -> Page:
    """Return the whole page.

    Args:
        found: what each proxy says.
        failures: trainings that failed, and why.
        command: what made it.
        machine: where that ran, in words.
        trained: how long and with how many seeds, in words.
    """
    return (
        Heading(text="Do the proxies rank networks as ImageNet does", level=1),
        Paragraph(
            "Networks of timm whose accuracy on ImageNet is published, at an eighth of their width and their whole "
            f"depth, trained from random weights on each proxy of --accuracy: {trained}. Images are enlarged to 32 "
            "pixels a side, tokens of a task drawn as squares of 8 pixels; patches of plain transformers are 8 pixels. "
            "So this says what a proxy shows within such a budget, of narrow networks, not what it would of whole ones."
        ),
        Code(text=command, language="sh"),
        Listing(points=tuple(machine)),
        *brief(found, failures),
        Paragraph(_MEANING),
        Paragraph(
            f"The row of {_PARAMETERS} is what a proxy has to beat: it ranks the same networks by their size, and "
            "trains nothing. Told from guessing is a score more than a tenth of the way from guessing to all."
        ),
        Heading(text="Scores"),
        Paragraph(
            "Held-out images named right, or tokens' answers, in %, beside the published top-1 (timm's "
            "results-imagenet.csv, 224 x 224, weights trained on ImageNet-1k alone). Guessing is in the last row."
        ),
        _scores(found),
    )


def _correlations(found: Sequence[Proxy]) -> Table:
    columns = tuple(
        Column(heading=each, align=Align.RIGHT if each else Align.LEFT, unbroken=bool(each))
        for each in ("", *_HEADINGS)
    )
    rows = [(each.name, *_row(each.ranking), f"{each.told} of {len(each.shares)}") for each in found]
    names = {name for each in found for name in each.shares}
    size = _ranking({name: row.parameters_million for name, row in NETWORKS.items() if name in names})
    return Table(columns=columns, rows=(*rows, (_PARAMETERS, *_row(size), "")))


def _row(ranking: Ranking | None) -> tuple[str, str, str]:
    if ranking is None:
        return "", "", ""
    return _figure(ranking.spearman), _figure(ranking.kendall), f"{ranking.in_order} of {ranking.pairs}"


def _figure(found: RankCorrelation) -> str:
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _scores(found: Sequence[Proxy]) -> Table:
    headings = ("network", "family", "ImageNet top-1", *(each.name for each in found))
    columns = tuple(
        Column(heading=each, align=Align.RIGHT if place > 1 else Align.LEFT) for place, each in enumerate(headings)
    )
    return Table(columns=columns, rows=tuple(_lines(found)))


def _lines(found: Sequence[Proxy]) -> Iterator[tuple[str, ...]]:
    names = {name for each in found for name in each.shares}
    ordered: list[PublishedNetwork] = sorted(NETWORKS.values(), key=lambda row: -row.top1)
    for row in ordered:
        if row.name in names:
            shares = (f"{100 * each.shares[row.name]:.1f}" if row.name in each.shares else "" for each in found)
            yield (f"{row.name}.{row.weights}", row.family, f"{row.top1:.1f}", *shares)
    yield ("guessing", "", "", *(f"{100 * each.chance:.1f}" for each in found))
