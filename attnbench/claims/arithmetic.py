"""Formulas as papers print them, read and evaluated: numbers, names, + - * / and powers, nothing else."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Mapping

_LONGEST = 500
"""Characters of a formula: ten times the longest that a paper prints."""
_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def parse(formula: str, *, names: Collection[str]) -> ast.expr:
    """Return a formula's tree.

    Raises:
        ValueError: it is no arithmetic, or has a name that is not among ``names``.
    """
    if len(formula) > _LONGEST:  # whatever goes through its tree goes deeper with each sign
        raise ValueError(f"a formula of {len(formula)} characters; {_LONGEST} are the most")
    try:
        tree = ast.parse(formula, mode="eval").body
    except (SyntaxError, ValueError, MemoryError):  # a NUL, and more brackets than Python takes
        raise ValueError(f"{formula!r} is not a formula; write it as 4*N*C**2 + 2*N**2*C") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in names:
            raise ValueError(f"{formula!r} has the unknown symbol {node.id!r}; known: {', '.join(sorted(names))}")
        if not isinstance(node, ast.BinOp | ast.Name | ast.Load | ast.Constant | ast.operator):
            raise ValueError(f"{formula!r} is more than + - * / and ** of numbers and symbols")
        if isinstance(node, ast.Constant) and not isinstance(node.value, int | float):
            raise ValueError(f"{formula!r} has {node.value!r}, which is no number")
    return tree


def evaluate(formula: str, symbols: Mapping[str, float]) -> float:
    """Return the value of a formula.

    Raises:
        ValueError: as ``parse``, or the value is no real number.
        ArithmeticError: it divides by zero or is too large.
    """
    value = _value(parse(formula, names=symbols.keys()), symbols)
    if isinstance(value, complex):
        raise ValueError(f"{formula!r} has no real value with {dict(symbols)}")
    return value


def _value(node: ast.expr, symbols: Mapping[str, float]) -> float:
    match node:
        case ast.Name(id=name):
            return symbols[name]
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, symbols), _value(right, symbols))
    raise AssertionError(ast.dump(node))
