"""The parts of a page, whatever it is set in: what is said and what it is to a reader, not how it looks.

Texts are as they came, of strangers too: what sets a page escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Tone(StrEnum):
    """What a text is to a reader."""

    PLAIN = "plain"
    STRONG = "strong"
    FAINT = "faint"
    """Beside the matter: explanations."""
    GOOD = "good"
    BAD = "bad"
    DOUBTFUL = "doubtful"
    CODE = "code"
    """What is typed."""


class Align(StrEnum):
    """On which side the entries of a column are flush."""

    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text in one tone.

    Example:
        >>> Piece("SLOWER", Tone.BAD).text
        'SLOWER'
    """

    text: str
    tone: Tone = Tone.PLAIN


Words = str | Piece | tuple[str | Piece, ...]
"""Text, some of which may be in a tone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A measured value in the unit of its column."""

    value: str
    interval: str = ""
    """Both ends, ``[15.8, 16.3]``."""
    brief: str = ""
    """The same with less room: ``±0.3`` to the farther of two ends about as far, or both ends with fewer digits."""
    best: bool = False
    """Whether nothing in the comparison is better; ends of intervals that overlap are not better."""
    second: bool = False
    """Whether nothing is better once the best are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What the entries of a column have in common."""

    heading: str
    align: Align = Align.LEFT
    unbroken: bool = False
    """Whether a narrow screen may not break its entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of words.

    Raises:
        ValueError: a row has more or fewer cells than there are columns.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Words, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{len(self.columns)} columns, and a row of {len(row)} cells: {row}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A column of measured values."""

    heading: str
    unit: str = ""
    against: str = ""
    """Of a ratio, the name of what its values are taken over."""
    meaning: str = ""
    """What the heading leaves open, said once beside the tables."""
    gives_way: int | None = None
    """In which order a narrow screen leaves columns out, the lowest first; None for one that always stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A mechanism in a comparison."""

    name: str
    notes: tuple[int, ...] = ()
    entries: Mapping[str, Entry]
    """By metric; what was not measured is not there."""
    failure: str = ""
    """Status and reason of a cell that did not end ok, empty if it did."""

    @property
    def status(self) -> str:
        """The first word of the failure."""
        return self.failure.partition(":")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A comparison: mechanisms down, measured values across."""

    title: str
    measures: Mapping[str, Measure]
    """By metric."""
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Sheets of the same metrics, set alike, with what their numbers refer to."""

    sheets: tuple[Sheet, ...]
    notes: tuple[str, ...] = ()
    """What the numbers beside the names refer to, from 1."""
    left_out: str = ""
    """What of the rows is not there, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """The name of what follows."""

    text: str
    level: int = 2
    """1 for the title of a page, 2 for a section, 3 for a part of one."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Words in lines as long as there is room."""

    words: Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Points, a few words each."""

    points: tuple[Words, ...]
    numbered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Lines to be copied as they are."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A file with a picture, and what is seen on it."""

    path: Path
    caption: str


Block = Heading | Paragraph | Listing | Table | Book | Code | Picture
Page = tuple[Block, ...]


def pieces(words: Words) -> tuple[Piece, ...]:
    """Return words as pieces, each with its tone.

    Example:
        >>> [piece.tone.value for piece in pieces(("all ", Piece("ok", Tone.GOOD)))]
        ['plain', 'good']
    """
    parts = words if isinstance(words, tuple) else (words,)
    return tuple(Piece(part) if isinstance(part, str) else part for part in parts)
