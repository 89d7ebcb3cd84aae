"""Blocks of neighbouring rows and columns that stay or go together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from fiberloom.errors import SpecError
from fiberloom.representation.patterns._fibertree import Anywhere, Blocks, Rank, read_rule
from fiberloom.representation.patterns.hss import HSS

_TEXT: Final = re.compile(
    r"(?:block\s*(?P<rows>\d+)\s*x\s*(?P<columns>\d+)|vector\s*(?P<vector>\d+))\s*\((?P<rule>.*)\)", re.I
)


@dataclass(frozen=True)
class Block(HSS):
    """Blocks of r rows and c columns, kept by their scaled L2 norm: ``block4x4(0.3)``, ``block1x4(2:8)``, ``vector16(2:4)``.

    Rows are the outputs (axis M), columns the inputs (axis C). A share keeps that many blocks of the tensor, G:H so many of
    every H that follow each other along C. ``vector16(2:4)`` is ``block16x1(2:4)``: 16 rows share one choice of 2 columns of 4
    (vector-wise N:M, Lin et al., nmSPARSE, MLSys'23). It is short for the fibertree ``M1->C1(rule)->M0(r:r)->C0(c:c)``, and
    optimal as that is.
    """

    written: str = ""

    examples: ClassVar[tuple[str, ...]] = ("block4x4(0.3)", "block1x4(2:8)", "vector16(2:4)")

    @classmethod
    def from_text(cls, text: str) -> Block | None:
        match = _TEXT.fullmatch(text)
        if match is None:
            return None
        rows, columns = (int(match[name] or 1) for name in ("rows", "columns"))
        if match["vector"] is not None:
            rows = int(match["vector"])
        if rows < 1 or columns < 1:
            raise SpecError(
                f"'{text}' has blocks of {rows} x {columns}", hint="a block has at least one row and one column"
            )
        words = match["rule"].strip()
        rule = read_rule(
            words if ":" in words or words.lower().startswith("unstructured") else f"unstructured {words}", text
        )
        return cls(_ranks(rows, columns, rule), written=_written(rows, columns, rule))

    def __str__(self) -> str:
        return self.written + super().__str__()[len("->".join(map(str, self.ranks))) :]


def _ranks(rows: int, columns: int, rule: Blocks | Anywhere | None) -> tuple[Rank, ...]:
    outer, inner = [Rank("C", 1 if columns > 1 else None, rule)], []
    if rows > 1:
        outer.insert(0, Rank("M", 1, None))
        inner.append(Rank("M", 0, Blocks(rows, rows)))
    if columns > 1:
        inner.append(Rank("C", 0, Blocks(columns, columns)))
    return (*outer, *inner)


def _written(rows: int, columns: int, rule: Blocks | Anywhere | None) -> str:
    return f"block{rows}x{columns}({rule})" if columns > 1 or not isinstance(rule, Blocks) else f"vector{rows}({rule})"
