"""What an option admits, in words, from its annotation as it is written and without running anything."""

from __future__ import annotations

import ast
from collections.abc import Mapping

_KINDS = {"int": "a whole number", "float": "a number", "bool": "on or off", "str": "a text", "None": "none"}
_MOST_NAMES = 8
"""Names that stand for names before one gives up: two may stand for each other."""


def admitted(annotation: ast.expr | None, named: Mapping[str, ast.expr]) -> str:
    """Return what an annotation admits; empty where the text alone does not tell.

    Args:
        annotation: of an argument.
        named: what the names of the module stand for.

    Example:
        >>> auto, either = (ast.parse(text, mode="eval").body for text in ("Literal['auto']", "int | Auto"))
        >>> admitted(either, {"Auto": auto})
        'a whole number or auto'
    """
    return " or ".join(dict.fromkeys(filter(None, _each(annotation, named, _MOST_NAMES))))


def _each(annotation: ast.expr | None, named: Mapping[str, ast.expr], left: int) -> list[str]:
    found: list[str] = []
    match annotation:
        case ast.BinOp(left=one, op=ast.BitOr(), right=other):
            found = _each(one, named, left) + _each(other, named, left)
        case ast.Subscript(value=ast.Name(id="Literal") | ast.Attribute(attr="Literal"), slice=choices):
            found = [", ".join(map(_choice, choices.elts if isinstance(choices, ast.Tuple) else [choices]))]
        case ast.Name(id=name) if name in _KINDS:
            found = [_KINDS[name]]
        case ast.Name(id=name) if name in named and left:
            found = _each(named[name], named, left - 1)
        case ast.Constant(value=None):
            found = [_KINDS["None"]]
    return found


def _choice(choice: ast.expr) -> str:
    return str(choice.value) if isinstance(choice, ast.Constant) else ast.unparse(choice)
