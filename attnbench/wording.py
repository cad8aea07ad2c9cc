"""Words that hang on a number. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_SAID = 5


def number_of(count: int, one: str, several: str = "") -> str:
    """Return a count with what is counted, in the singular or the plural, which ends in s by default.

    Example:
        >>> number_of(1, "cell"), number_of(2_000, "process", "processes")
        ('1 cell', '2,000 processes')
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def few(names: Sequence[str]) -> str:
    """Return the first names of many, and how many more there are.

    Example:
        >>> few(["a", "b"]), few(list("abcdefg"))
        ('a, b', 'a, b, c, d, e and 2 more')
    """
    more = len(names) - _MOST_SAID
    return ", ".join(names[:_MOST_SAID]) + (f" and {more} more" if more > 0 else "")
