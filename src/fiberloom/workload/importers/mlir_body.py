"""What the body of a loop nest computes: a product that is added to the output, a reduction, an element-wise function, a copy.

This is the check that Union calls conformability on the level of loops (Jeong et al., PACT'21, §IV): a body is a multiply-add when
what it yields is the old output plus a product of one element of each input, up to conversions between number formats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from fiberloom.workload.importers.mlir_program import Operation, Value

_CASTS: Final = frozenset((
    "extf", "extsi", "extui", "truncf", "trunci", "sitofp", "uitofp", "fptosi", "fptoui", "index_cast", "index_castui",
    "bitcast", "sext", "zext",
))  # fmt: skip
_MULTIPLY: Final = frozenset(("arith.mulf", "arith.muli", "complex.mul"))
_ADD: Final = frozenset(("arith.addf", "arith.addi", "complex.add"))
_SUBTRACT: Final = frozenset(("arith.subf", "arith.subi"))
_ARITHMETIC: Final = frozenset(("arith", "math", "complex"))
_CONTROL: Final = frozenset(("scf", "cf", "affine", "func"))
_HARMLESS: Final = frozenset(("load", "apply", "store", "yield", "assert"))

Leaf = Callable[[Value], "int | str | None"]
"""What a value is: the number of an input, ``out``, ``constant``, or None if the body computes it."""


@dataclass(frozen=True)
class Body:
    """What a body computes.

    Attributes:
        factors: inputs whose product is added to the output; empty if it is not a multiply-add.
        accumulates: whether the output's old value is used.
        operations: arithmetic operations of one turn.
        problem: why it is not a multiply-add.
        unreadable: why not even its operations can be counted, or empty.
        note: what a multiply-add has beside multiplication and addition.
        looks_up: whether it reads elements at positions that are data.
        functions: names of what it computes (``math.exp``).
    """

    factors: tuple[int, ...] = ()
    accumulates: bool = False
    operations: int = 0
    problem: str = ""
    unreadable: str = ""
    note: str = ""
    looks_up: bool = False
    functions: frozenset[str] = frozenset()


def analyse(operations: Iterable[Operation], yielded: Value, leaf: Leaf, scalars: frozenset[int] = frozenset()) -> Body:
    """Find out what a body computes.

    Args:
        operations: of the body, without its terminator.
        yielded: what becomes the output's element.
        leaf: see `Leaf`.
        scalars: inputs of one element (zero points of quantised products).
    """
    made: dict[Value, Operation] = {}
    count, looks_up, functions = 0, False, set()
    for operation in operations:
        for result in operation.results:
            made[result] = operation
        functions.add(operation.name)
        if operation.dialect in _CONTROL and operation.short not in _HARMLESS:
            return Body(unreadable=f"'{operation.name}' in the body (line {operation.line}) is control flow")
        if operation.name in ("tensor.extract", "memref.load"):
            looks_up = True
        elif operation.dialect in _ARITHMETIC and operation.short not in ("constant", "index_cast", "index_castui"):
            count += 1
        elif operation.dialect not in _ARITHMETIC and operation.short not in ("index", *_HARMLESS):
            return Body(unreadable=f"'{operation.name}' in the body (line {operation.line}) is not known")
    uses = _Uses(made, leaf, scalars)
    accumulates = uses.reaches(yielded, "out")
    body = partial(Body, accumulates=accumulates, operations=count, looks_up=looks_up, functions=frozenset(functions))
    if looks_up:
        return body(problem="it reads elements at positions that are data")
    try:
        factors = uses.multiply_add(yielded)
    except _NotAProductError as error:
        return body(problem=str(error))
    return body(factors=factors, note=uses.note)


class _NotAProductError(Exception):
    pass


class _Uses:
    def __init__(self, made: dict[Value, Operation], leaf: Leaf, scalars: frozenset[int]) -> None:
        self._made = made
        self._leaf = leaf
        self._scalars = scalars
        self.note = ""

    def _bare(self, value: Value) -> Value:
        """The value before conversions of its format."""
        while (operation := self._made.get(value)) is not None and operation.short in _CASTS and operation.operands:
            value = operation.operands[0]
        return value

    def reaches(self, value: Value, wanted: str) -> bool:
        """Whether a value is computed from a leaf."""
        pending, seen = [value], {value}
        while pending:
            current = pending.pop()
            if self._leaf(current) == wanted:
                return True
            operation = self._made.get(current)
            for operand in operation.operands if operation is not None and self._leaf(current) is None else ():
                if operand not in seen:
                    seen.add(operand)
                    pending.append(operand)
        return False

    def multiply_add(self, yielded: Value) -> tuple[int, ...]:
        """Inputs of the product in ``out + product``."""
        total = self._made.get(self._bare(yielded))
        if total is None:
            raise _NotAProductError("it computes nothing")
        if total.name not in _ADD:
            raise _NotAProductError(f"it ends in '{total.name}', not in an addition to the output")
        sides = [self._bare(v) for v in total.operands]
        outs = [i for i, v in enumerate(sides) if self._leaf(v) == "out"]
        if len(outs) != 1:
            raise _NotAProductError("the old value of the output is not one side of the addition")
        factors = self._product(sides[1 - outs[0]])
        repeated = sorted({f for f in factors if factors.count(f) > 1})
        if repeated:
            raise _NotAProductError("an input is multiplied by itself")
        if len(factors) < 2:
            raise _NotAProductError("nothing is multiplied")
        return factors

    def _product(self, value: Value) -> tuple[int, ...]:
        value = self._bare(value)
        what = self._leaf(value)
        if isinstance(what, int):
            return (what,)
        if what == "constant":
            self.note = "scaled by a constant"
            return ()
        operation = self._made.get(value)
        if operation is None or what == "out":
            raise _NotAProductError("the output is multiplied as well" if what == "out" else "a factor is not an input")
        if operation.name in _MULTIPLY:
            return tuple(f for v in operation.operands for f in self._product(v))
        if operation.name in _SUBTRACT and len(operation.operands) == 2:
            offset = self._leaf(self._bare(operation.operands[1]))
            if offset == "constant" or offset in self._scalars:
                self.note = "zero points are subtracted on the way in"
                return self._product(operation.operands[0])
        raise _NotAProductError(f"a factor is computed by '{operation.name}'")
