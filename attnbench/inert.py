"""Text of strangers as text and nothing more: on a terminal of any encoding, in Markdown, in a spreadsheet.

The only place that escapes. Names, options and reasons come from plugins, exceptions and files of whoever: an escape
code would move the cursor, a ``|`` end a cell of a table, ``<script>`` run in a page, and ``=cmd()`` in a spreadsheet.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from urllib.parse import quote

_REPLACED = "\N{REPLACEMENT CHARACTER}"


class _Shown(dict[int, str]):
    """What stands for characters on a screen, found out as they come.

    Everything that is not printed is replaced: controls, what turns the direction of writing and lets a name read as
    another, halves of characters, and what nobody sees.
    """

    def __missing__(self, code: int) -> str:
        one = chr(code)
        blank = one in "\t\v\f\x85" or unicodedata.category(one) in {"Zs", "Zl", "Zp"}
        self[code] = " " if blank else one if one.isprintable() else _REPLACED
        return self[code]


_SHOWN = _Shown({ord("\r"): "\n", ord("\n"): "\n"})
_NEAREST = {"\N{MICRO SIGN}": "u", "±": "~", "\N{EN DASH}": "-", "\N{MINUS SIGN}": "-", "\N{MULTIPLICATION SIGN}": "x"}
NEAREST = "attnbench.nearest"
"""How what an encoding lacks is written, as ``open`` takes it: by its nearest letter or a question mark, as wide."""
_OF_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#&~$])")
_OF_LATEX = {ord(sign): f"\\{sign}" for sign in "#$%&_{}"} | {
    ord("\\"): r"\textbackslash{}",
    ord("~"): r"\textasciitilde{}",
    ord("^"): r"\textasciicircum{}",
    ord("<"): r"\textless{}",
    ord(">"): r"\textgreater{}",
    ord("|"): r"\textbar{}",
    ord("-"): "{-}",
    ord("`"): r"\textasciigrave{}",
    ord("'"): r"\textquotesingle{}",
    ord('"'): "{''}",
    ord("\N{MICRO SIGN}"): r"\textmu{}",
    ord("±"): r"\textpm{}",
    ord("\N{EN DASH}"): "--",
    ord(_REPLACED): "?",
    ord("["): "{[}",
    ord("]"): "{]}",
}
_OF_SCRIPTS = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"}
_FORMULA = ("=", "+", "-", "@")


def shown(text: object) -> str:
    r"""Return text whose characters a terminal shows and does not obey; lines stay lines.

    Example:
        >>> shown("\x1b[31mred")
        '�[31mred'
    """
    plain = str(text)
    return plain if plain.isprintable() else plain.translate(_SHOWN)


def line(text: object) -> str:
    r"""Return text on one line.

    Example:
        >>> line("one\n  two")
        'one two'
    """
    return " ".join(shown(text).split())


def brief(text: object, *, most: int = 500) -> str:
    r"""Return what a stranger says on one line of printable characters, cut where it is long and said to be.

    Every error, reason and last word of a plugin passes here before it becomes a part of anything of ours.

    Args:
        text: whatever was said; an exception may fail to say what it is.
        most: characters that are kept.

    Example:
        >>> brief("one\n  two")
        'one two'
        >>> brief("x" * 5_000_000, most=10)
        'xxxxxxxxxx... (5,000,000 characters)'
    """
    try:
        said = str(text)
    except Exception:
        said = f"a {type(text).__name__} that cannot say what it is"
    start = "".join(one if one.isprintable() else _REPLACED for one in line(said[: 2 * most]))
    if len(start) <= most and len(said) <= 2 * most:
        return start
    return f"{start[:most]}... ({len(said):,} characters)"


def markdown(text: object) -> str:
    r"""Return text that Markdown takes literally, on one line, so that it fits into a table.

    Example:
        >>> print(markdown("a|b <script>"))
        a\|b \<script\>
    """
    return _OF_MARKDOWN.sub(r"\\\1", line(text))


def code(text: object) -> str:
    r"""Return text as code in Markdown, also within a table, whatever backticks and bars it has.

    Example:
        >>> print(code("a|b"), code("a`b"))
        `a\|b` `` a`b ``
    """
    plain = line(text).replace("|", "\\|")
    longest = max(map(len, re.findall(r"`+", plain)), default=0)
    fence, blank = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{blank}{plain}{blank}{fence}"


def code_block(text: object, *, language: str) -> str:
    r"""Return lines as a block of code in Markdown, whatever fences they have.

    Example:
        >>> print(code_block("attnbench list", language="sh"))
        ```sh
        attnbench list
        ```
    """
    plain = shown(text).strip()
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", plain)), default=0))
    return f"{fence}{language}\n{plain}\n{fence}"


def script_data(value: object) -> str:
    r"""Return data as JSON that may stand in a script element of a page: nothing in it ends the element.

    Example:
        >>> script_data({"name": "</script>"})
        '{"name":"\\u003c/script\\u003e"}'
    """
    plain = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return plain.translate(_OF_SCRIPTS)


def latex(text: object) -> str:
    r"""Return text on one line as LaTeX sets it, whatever commands are in it.

    Example:
        >>> latex(r"a_b 50% \input{x}")
        'a\\_b 50\\% \\textbackslash{}input\\{x\\}'
    """
    return line(text).translate(_OF_LATEX)


def link(path: str) -> str:
    """Return a path as the target of a link in Markdown.

    Example:
        >>> link("plots/a b)c.png")
        'plots/a%20b%29c.png'
    """
    return quote(path, safe="/")


def spreadsheet(value: object) -> object:
    """Return a value for a CSV file that a spreadsheet takes for no formula; numbers stay numbers.

    Example:
        >>> spreadsheet("=cmd()"), spreadsheet("-0.5"), spreadsheet(-0.5), spreadsheet("qna")
        ("'=cmd()", '-0.5', -0.5, 'qna')
    """
    if not isinstance(value, str):
        return value
    text = shown(value).replace("\n", " ")
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _nearest(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_plain(one) for one in lacking), error.end


def _plain(character: str) -> str:
    near = _NEAREST.get(character) or unicodedata.normalize("NFKD", character)[0]
    return near if near.isascii() else "?"


codecs.register_error(NEAREST, _nearest)
