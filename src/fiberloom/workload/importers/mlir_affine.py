"""Affine maps of MLIR, as sums of loop variables: ``(d0, d1) -> (2 * d0 + d1)``.

MLIR's affine expressions also know floor and ceiling division and remainders; those are no indices of an Einsum, and the expression
says so. A symbol counts as one more dimension, behind the others.
"""

from __future__ import annotations

import re
from typing import Final

from fiberloom.workload.importers.mlir_program import AffineExpression, AffineMap

_TOKEN: Final = re.compile(r"\s*(floordiv|ceildiv|mod|[A-Za-z_]\w*|\d+|[-+*()])")


def affine_map(text: str) -> AffineMap:
    """Read ``(d0, d1)[s0] -> (d0, d1 + 1)``.

    Raises:
        ValueError: if it is not an affine map.
    """
    match = re.fullmatch(r"\s*\(([^)]*)\)\s*(?:\[([^\]]*)\])?\s*->\s*\((.*)\)\s*", text, re.DOTALL)
    if not match:
        raise ValueError(f"'{text.strip()}' is not an affine map")
    names, symbols = ([n.strip() for n in (match.group(i) or "").split(",") if n.strip()] for i in (1, 2))
    dims = {n: i for i, n in enumerate([*names, *symbols])}
    results = tuple(affine_expression(part, dims) for part in _parts(match.group(3)))
    return AffineMap(len(names), results, len(symbols))


def affine_expression(text: str, dims: dict[str, int]) -> AffineExpression:
    """Read one index expression; what is not a sum of multiples of `dims` and a number has a `problem`.

    Raises:
        ValueError: if it is no expression at all.
    """
    tokens, at = [], 0
    stripped = text.rstrip()
    while at < len(stripped):
        match = _TOKEN.match(stripped, at)
        if not match:
            raise ValueError(f"'{text.strip()}' is not an affine expression")
        tokens.append(match.group(1))
        at = match.end()
    reader = _Expression(tokens, dims, text.strip())
    try:
        coefficients, offset = reader.sum()
    except _NotAffineError as error:
        return AffineExpression((), 0, str(error))
    if reader.tokens:
        raise ValueError(f"'{text.strip()}' is not an affine expression")
    return linear(coefficients, offset)


def linear(coefficients: dict[int, int], offset: int) -> AffineExpression:
    """The expression with these coefficients by dimension."""
    return AffineExpression(tuple((c, d) for d, c in sorted(coefficients.items()) if c), offset)


class _NotAffineError(Exception):
    pass


class _Expression:
    def __init__(self, tokens: list[str], dims: dict[str, int], text: str) -> None:
        self.tokens = tokens
        self._dims = dims
        self._text = text

    def sum(self) -> tuple[dict[int, int], int]:
        total, offset = self._product()
        while self.tokens and self.tokens[0] in "+-":
            sign = 1 if self.tokens.pop(0) == "+" else -1
            more, constant = self._product()
            for d, c in more.items():
                total[d] = total.get(d, 0) + sign * c
            offset += sign * constant
        return total, offset

    def _product(self) -> tuple[dict[int, int], int]:
        left, a = self._atom()
        while self.tokens and self.tokens[0] in ("*", "floordiv", "ceildiv", "mod"):
            operator = self.tokens.pop(0)
            right, b = self._atom()
            if operator != "*":
                raise _NotAffineError(f"'{self._text}' uses {operator}, which is no affine index of an Einsum")
            if left and right:
                raise _NotAffineError(f"'{self._text}' multiplies two loop variables")
            if right:
                left, a, b = right, b, a
            left, a = {d: c * b for d, c in left.items()}, a * b
        return left, a

    def _atom(self) -> tuple[dict[int, int], int]:
        if not self.tokens:
            raise ValueError(f"'{self._text}' is not an affine expression")
        token = self.tokens.pop(0)
        if token == "-":
            inner, offset = self._atom()
            return {d: -c for d, c in inner.items()}, -offset
        if token == "(":
            inner, offset = self.sum()
            if not self.tokens or self.tokens.pop(0) != ")":
                raise ValueError(f"'{self._text}' has brackets that do not match")
            return inner, offset
        if token.isdigit():
            return {}, int(token)
        if token in self._dims:
            return {self._dims[token]: 1}, 0
        if re.fullmatch(r"[A-Za-z_]\w*", token):
            raise _NotAffineError(f"'{self._text}' uses '{token}', whose value the file does not give")
        raise ValueError(f"'{self._text}' is not an affine expression")


def _parts(text: str) -> list[str]:
    """Cut at commas outside brackets."""
    parts, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    last = text[start:]
    return [*parts, last] if last.strip() or parts else []
