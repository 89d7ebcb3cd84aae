"""Loop nests of the affine dialect, and of scf with constant bounds, that load, compute and store (Union's second entry).

Every store in a nest is an operator over the loops around it: a nest that first clears an accumulator and then sums into it is two,
of which the first computes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fiberloom.errors import SpecError
from fiberloom.workload.importers import mlir_nest as nests
from fiberloom.workload.importers.mlir_affine import linear
from fiberloom.workload.importers.mlir_body import analyse
from fiberloom.workload.importers.mlir_graph import Generated, Graph
from fiberloom.workload.importers.mlir_program import AffineExpression, AffineMap, Operation, Value
from fiberloom.workload.network import Kind

LOOPS: Final = frozenset(("affine.for", "affine.parallel", "scf.for", "scf.parallel", "scf.forall"))
"""Operations that are loops."""

_LOADS: Final = frozenset(("affine.load", "memref.load"))
_STORES: Final = frozenset(("affine.store", "memref.store"))


class _NotANestError(Exception):
    def __init__(self, operation: Operation, why: str) -> None:
        super().__init__(f"line {operation.line}: {why}")


@dataclass
class _Surroundings:
    """What is known where a loop's body stands: trips, first value and step of every loop variable, and what was computed so far."""

    loops: dict[Value, int] = field(default_factory=dict)
    trips: list[int] = field(default_factory=list)
    starts: list[tuple[int, int]] = field(default_factory=list)
    indices: dict[Value, AffineExpression] = field(default_factory=dict)
    made: list[Operation] = field(default_factory=list)

    def copy(self) -> _Surroundings:
        return _Surroundings(dict(self.loops), list(self.trips), list(self.starts), dict(self.indices), list(self.made))


def add(graph: Graph, operation: Operation) -> None:
    """Add a loop nest: one operator for every store in it.

    Raises:
        SpecError: for indices that do not fit the shape of what they index.
        UnsupportedError: for dynamic shapes.
    """
    try:
        stores = _stores(graph, operation, _Surroundings())
    except _NotANestError as error:
        touched = [v for o in operation.walk() if o.name in (*_LOADS, *_STORES) for v in o.operands if v.type.ranked]
        written = [v for o in operation.walk() if o.name in _STORES for v in o.operands if v.type.ranked]
        operation.results.clear()
        graph.emit(operation, Kind.UNKNOWN, inputs=touched, outputs=written, note=str(error))
        return
    for store, around in stores:
        _operator(graph, store, around)


def _stores(graph: Graph, loop: Operation, around: _Surroundings) -> list[tuple[Operation, _Surroundings]]:
    inner = around.copy()
    block = loop.body
    if block is None:
        raise _NotANestError(loop, "a loop without a body")
    if loop.results or len(block.arguments) != _variables(loop):
        raise _NotANestError(loop, f"no Einsum: '{loop.name}' carries values from turn to turn")
    for variable, (first, end, step) in zip(block.arguments, _bounds(graph, loop), strict=True):
        inner.loops[variable] = len(inner.trips)
        inner.trips.append(max(0, -(-(end - first) // step)))
        inner.starts.append((first, step))
        inner.indices[variable] = linear({inner.loops[variable]: step}, first)
        if inner.trips[-1] == 0:
            return []
    found: list[tuple[Operation, _Surroundings]] = []
    for operation in block.operations:
        if operation.name in LOOPS:
            found += _stores(graph, operation, inner)
        elif operation.name in _STORES:
            found.append((operation, inner.copy()))
        elif operation.name == "affine.apply":
            inner.indices[operation.results[0]] = _indices(graph, operation, inner, operation.operands)[0]
        elif operation.short not in ("yield", "reduce", "in_parallel") and (
            operation.regions or operation.dialect == "func"
        ):
            raise _NotANestError(
                operation, f"'{operation.name}' in a loop is control flow: what runs is known at run time only"
            )
        else:
            inner.made.append(operation)
    return found


def _variables(loop: Operation) -> int:
    if loop.name in ("affine.for", "scf.for"):
        return 1
    return len(loop.body.arguments) if loop.body is not None else 0


def _bounds(graph: Graph, loop: Operation) -> list[tuple[int, int, int]]:
    """First value, end and step of every variable of a loop."""
    own = loop.attributes
    if loop.name == "affine.for":
        lower, upper = own.get("lowerBoundMap"), own.get("upperBoundMap")
        pair = [_constant_map(m) for m in (lower, upper)]
        step = own.get("step", 1)
        if pair[0] is None or pair[1] is None or not isinstance(step, int) or step < 1:
            raise _NotANestError(
                loop, "no Einsum: the bounds of a loop are not constants (a triangular or dynamic loop)"
            )
        return [(pair[0], pair[1], step)]
    if loop.name == "scf.for" and len(loop.operands) == 3:
        numbers = [_number(graph, v) for v in loop.operands]
        if any(n is None for n in numbers) or (numbers[2] or 0) < 1:
            raise _NotANestError(loop, "no Einsum: the bounds of a loop are not constants")
        return [(numbers[0] or 0, numbers[1] or 0, numbers[2] or 1)]
    if loop.name == "affine.parallel":
        maps, steps = [own.get(k) for k in ("lowerBoundsMap", "upperBoundsMap")], own.get("steps")
        if all(isinstance(m, AffineMap) for m in maps) and isinstance(steps, list):
            ends = [
                [r.offset if not r.terms and not r.problem else None for r in m.results] for m in maps if m is not None
            ]
            flat = [n for end in ends for n in end]
            if all(n is not None for n in flat) and len(ends[0]) == len(ends[1]) == len(steps):
                return [(a or 0, b or 0, s) for a, b, s in zip(ends[0], ends[1], steps, strict=True)]
    elif loop.name == "scf.parallel" and loop.body is not None:
        count = len(loop.body.arguments)
        numbers = [_number(graph, v) for v in loop.operands]
        if len(numbers) == 3 * count and all(n is not None for n in numbers):
            parts = [[n or 0 for n in numbers[i * count : (i + 1) * count]] for i in range(3)]
            return [(a, b, max(1, s)) for a, b, s in zip(*parts, strict=True)]
    raise _NotANestError(loop, f"no Einsum: the bounds of '{loop.name}' are not constants")


def _constant_map(given: object) -> int | None:
    """The value of a map of no loop variables; the least of several results is not taken, for it is seldom constant."""
    if not isinstance(given, AffineMap) or len(given.results) != 1:
        return None
    result = given.results[0]
    return None if result.terms or result.problem else result.offset


def _number(graph: Graph, value: Value) -> int | None:
    bound = graph.bound(value)
    return bound.number if isinstance(bound, Generated) else None


def _indices(
    graph: Graph, operation: Operation, around: _Surroundings, operands: Sequence[Value]
) -> tuple[AffineExpression, ...]:
    """Index expressions of an access over the loops around it."""
    arguments = [_index(graph, v, around) for v in operands]
    given = operation.attributes.get("map")
    if not isinstance(given, AffineMap):
        return tuple(arguments)
    made = []
    for result in given.results:
        if result.problem:
            made.append(result)
            continue
        sums: dict[int, int] = {}
        offset, problem = result.offset, ""
        for coefficient, dim in result.terms:
            if dim >= len(arguments):
                raise SpecError(
                    f"{operation.name}: its map takes more than {len(arguments)} indices",
                    where=graph.program.at(operation.line),
                )
            part = arguments[dim]
            problem = problem or part.problem
            offset += coefficient * part.offset
            for c, d in part.terms:
                sums[d] = sums.get(d, 0) + coefficient * c
        made.append(AffineExpression((), 0, problem) if problem else linear(sums, offset))
    return tuple(made)


def _index(graph: Graph, value: Value, around: _Surroundings) -> AffineExpression:
    if value in around.indices:
        return around.indices[value]
    number = _number(graph, value)
    if number is None:
        for operation in around.made:
            if value in operation.results and operation.name == "arith.constant":
                given = operation.attributes.get("value")
                number = given if isinstance(given, int) else None
            elif value in operation.results and operation.short in ("addi", "muli", "subi"):
                return _combined(graph, operation, around)
            elif value in operation.results and operation.short == "index_cast":
                return _index(graph, operation.operands[0], around)
    if number is None:
        return AffineExpression((), 0, f"%{value.name} is data, not a sum of loop variables")
    return AffineExpression((), number)


def _combined(graph: Graph, operation: Operation, around: _Surroundings) -> AffineExpression:
    left, right = (_index(graph, v, around) for v in operation.operands)
    if left.problem or right.problem:
        return left if left.problem else right
    if operation.short == "muli":
        if left.terms and right.terms:
            return AffineExpression((), 0, "two loop variables are multiplied")
        scale, other = (left, right) if not left.terms else (right, left)
        return linear({d: c * scale.offset for c, d in other.terms}, other.offset * scale.offset)
    sign = -1 if operation.short == "subi" else 1
    sums = {d: c for c, d in left.terms}
    for c, d in right.terms:
        sums[d] = sums.get(d, 0) + sign * c
    return linear(sums, left.offset + sign * right.offset)


def _operator(graph: Graph, store: Operation, around: _Surroundings) -> None:
    value, target, *indices = store.operands
    where = (target, _indices(graph, store, around, indices))
    loads: dict[Value, tuple[Value, tuple[AffineExpression, ...]]] = {}
    for operation in around.made:
        if operation.name in _LOADS:
            source, *at = operation.operands
            loads[operation.results[0]] = (source, _indices(graph, operation, around, at))
    made = {v: o for o in around.made for v in o.results}
    needed = _needed(value, made)
    places: list[tuple[Value, tuple[AffineExpression, ...]]] = []
    for result, access in loads.items():
        if result in needed and access != where and access not in places:
            places.append(access)

    def leaf(candidate: Value) -> int | str | None:
        if candidate in loads:
            return "out" if loads[candidate] == where else places.index(loads[candidate])
        if candidate in around.loops:
            return None
        operation = made.get(candidate)
        return "constant" if operation is None or operation.name == "arith.constant" else None

    body_operations = [o for o in around.made if any(r in needed for r in o.results) and o.name not in _LOADS]
    body = analyse(body_operations, value, leaf)
    if not places and not body.accumulates:
        graph.folded += 1  # a constant is stored: an accumulator is cleared
        return
    accesses = [nests.Access(v, at) for v, at in places]
    output = nests.Access(*where)
    for one in (*accesses, output):
        _check(graph, store, one, around)
    reduces = tuple(d not in output.dims for d in range(len(around.trips)))
    nest = nests.Nest(tuple(around.trips), reduces, tuple(accesses), output)
    nests.add(graph, store, nest, body, op="affine loop nest" if store.dialect == "affine" else "loop nest")


def _needed(value: Value, made: dict[Value, Operation]) -> set[Value]:
    """Everything that a value is computed from."""
    found, pending = {value}, [value]
    while pending:
        operation = made.get(pending.pop())
        for operand in operation.operands if operation is not None and operation.name not in _LOADS else ():
            if operand not in found:
                found.add(operand)
                pending.append(operand)
    return found


def _check(graph: Graph, store: Operation, access: nests.Access, around: _Surroundings) -> None:
    shape = graph.shape(access.value)
    where = graph.program.at(store.line)
    if len(access.ranks) != len(shape):
        raise SpecError(
            f"%{access.value.name} is {access.value.type.text}, of rank {len(shape)}, and has {len(access.ranks)} indices",
            where=where,
        )
    for rank, extent in zip(access.ranks, shape, strict=True):
        reach = rank.offset + sum(max(0, c) * (around.trips[d] - 1) for c, d in rank.terms)
        least = rank.offset + sum(min(0, c) * (around.trips[d] - 1) for c, d in rank.terms)
        if not rank.problem and (reach >= extent or least < 0):
            raise SpecError(
                f"%{access.value.name} is {access.value.type.text}, but is indexed from {least} to {reach}", where=where
            )
