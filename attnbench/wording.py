"""Words that hang on a number. Imports nothing."""

from __future__ import annotations


def number_of(count: int, one: str, several: str = "") -> str:
    """Return a count with what is counted, in the singular or the plural, which ends in s by default.

    Example:
        >>> number_of(1, "cell"), number_of(2_000, "process", "processes")
        ('1 cell', '2,000 processes')
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"
