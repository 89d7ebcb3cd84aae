"""Arithmetic in YAML scalars: ``depth: 64 * 1024``, ``width: max(32, word_bits * 4)``.

A closed grammar: numbers, names of an explicit scope, ``+ - * / // % **``, comparisons (also of texts, and ``in``), ``and or not``,
``a if c else b``, parentheses and a handful of functions. The text is parsed to a syntax tree of which only these
nodes are accepted; nothing is executed as code.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from fiberloom.errors import Location, SpecError, nearest

MAX_LENGTH = 300
MAX_DEPTH = 40
MAX_MAGNITUDE = 1e300
MAX_EXPONENT = 1024

Number = int | float

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_EQUALITY = (ast.Eq, ast.NotEq)
_FUNCTIONS: Mapping[str, tuple[Callable[..., Any], int, int]] = {
    "min": (min, 2, 8),
    "max": (max, 2, 8),
    "ceil": (math.ceil, 1, 1),
    "floor": (math.floor, 1, 1),
    "round": (round, 1, 1),
    "abs": (abs, 1, 1),
    "sqrt": (math.sqrt, 1, 1),
    "log2": (math.log2, 1, 1),
    "int": (math.trunc, 1, 1),
}


def evaluate(text: str, scope: Mapping[str, Number | str] | None = None, *, where: Location | None = None) -> Number:
    """Value of an arithmetic expression.

    Args:
        text: the expression, at most 300 characters.
        scope: the names that it may use; those with texts only in comparisons.
        where: place for messages.

    Raises:
        SpecError: for anything outside the grammar, unknown names, and results that are not finite.
    """
    shown = text if len(text) <= 60 else text[:57] + "..."

    def refuse(problem: str, hint: str) -> SpecError:
        return SpecError(f"'{shown}' can't be computed: {problem}", where=where, hint=hint)

    if len(text) > MAX_LENGTH:
        raise refuse(f"it has {len(text)} characters", f"expressions have at most {MAX_LENGTH}")
    try:
        tree = _tree(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise refuse("it is not arithmetic", "write a number or an expression such as 64 * 1024") from None
    try:
        value = _value(tree.body, scope or {}, refuse, 0)
    except (ZeroDivisionError, OverflowError, ValueError) as error:
        raise refuse(str(error), "the result must be a finite number") from None
    return value


@lru_cache(maxsize=4096)  # searches of designs compute few texts many times
def _tree(text: str) -> ast.Expression:
    return ast.parse(text.strip(), mode="eval")


@lru_cache(maxsize=4096)
def names_in(text: str) -> frozenset[str]:
    """Names that an expression uses; none where it is not an expression."""
    try:
        tree = _tree(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return frozenset()
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)) - _FUNCTIONS.keys()


def _value(
    node: ast.expr, scope: Mapping[str, Number | str], refuse: Callable[[str, str], SpecError], depth: int
) -> Number:
    if depth > MAX_DEPTH:
        raise refuse("it is nested too deeply", f"at most {MAX_DEPTH} levels of brackets")

    def sub(child: ast.expr) -> Number:
        return _value(child, scope, refuse, depth + 1)

    value: Any
    match node:
        case ast.Constant(value=bool() | int() | float()):
            value = node.value
        case ast.Name(id=name):
            value = _named(name, scope, refuse)
            if isinstance(value, str):
                raise refuse(f"'{name}' is the text '{value}'", "compare it: name == 'text', or name in ('a', 'b')")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = -sub(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            value = sub(operand)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            value = not sub(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            value = _power(sub(left), sub(right), refuse)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            value = _BINARY[type(op)](sub(left), sub(right))
        case ast.BoolOp(op=op, values=values):
            truths = [bool(sub(v)) for v in values]
            value = all(truths) if isinstance(op, ast.And) else any(truths)
        case ast.Compare(left=left, ops=[ast.In() | ast.NotIn() as op], comparators=[ast.Tuple(elts=elements)]):
            found = any(_term(left, scope, sub, refuse) == _term(e, scope, sub, refuse) for e in elements)
            value = found == isinstance(op, ast.In)
        case ast.Compare(left=left, ops=ops, comparators=comparators) if all(isinstance(op, _EQUALITY) for op in ops):
            sides = [_term(c, scope, sub, refuse) for c in (left, *comparators)]
            value = all(_COMPARE[type(op)](a, b) for op, a, b in zip(ops, sides, sides[1:], strict=False))
        case ast.Compare(left=left, ops=ops, comparators=comparators) if all(type(op) in _COMPARE for op in ops):
            terms = [sub(left), *(sub(c) for c in comparators)]
            value = all(_COMPARE[type(op)](a, b) for op, a, b in zip(ops, terms, terms[1:], strict=False))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            value = sub(body) if sub(test) else sub(orelse)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            if name not in _FUNCTIONS:
                raise refuse(f"there is no function '{name}'", nearest(name, _FUNCTIONS))
            function, least, most = _FUNCTIONS[name]
            if not least <= len(args) <= most:
                raise refuse(
                    f"'{name}' got {len(args)} arguments", f"it takes {least}" + (f" to {most}" if most > least else "")
                )
            value = function(*(sub(a) for a in args))
        case _:
            raise refuse(
                f"'{type(node).__name__}' is not arithmetic",
                "use numbers, names, + - * / // % **, min, max, ceil, floor, log2, sqrt",
            )
    if not isinstance(value, (int, float)) or not abs(value) <= MAX_MAGNITUDE:
        raise refuse("the result is out of range", "the result must be a finite number")
    return value


def _named(name: str, scope: Mapping[str, Number | str], refuse: Callable[[str, str], SpecError]) -> Number | str:
    if name not in scope:
        raise refuse(f"'{name}' has no value", nearest(name, scope))
    return scope[name]


def _term(
    node: ast.expr,
    scope: Mapping[str, Number | str],
    sub: Callable[[ast.expr], Number],
    refuse: Callable[[str, str], SpecError],
) -> Number | str:
    """A side of a comparison: a text, a name of either kind, or arithmetic."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.Name(id=name):
            return _named(name, scope, refuse)
    return sub(node)


def _power(base: Number, exponent: Number, refuse: Callable[[str, str], SpecError]) -> Number:
    if abs(exponent) > MAX_EXPONENT:
        raise refuse(f"the exponent {exponent} is too large", f"exponents go up to {MAX_EXPONENT}")
    result = float(base) ** float(exponent)
    if isinstance(result, complex):
        raise refuse("a root of a negative number", "the result must be a real number")
    exact = isinstance(base, int) and isinstance(exponent, int) and exponent >= 0 and abs(result) < 2**62
    return int(base) ** int(exponent) if exact else float(result)
