"""Perfect loop nests as operators: contractions become Einsums, in the canonical shapes where they have one.

Conformability (Union: Jeong et al., PACT'21, §IV): every index is a sum of multiples of loop variables, the output is indexed by
exactly the parallel loops, the body is a multiply-add. What does not conform is counted as what it is, and the reason is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pydantic import ValidationError

from fiberloom.errors import SpecError
from fiberloom.workload.einsum import Einsum, IndexTerm, Tensor
from fiberloom.workload.importers import mlir_contraction as contraction
from fiberloom.workload.importers.mlir_body import Body
from fiberloom.workload.importers.mlir_graph import Graph
from fiberloom.workload.importers.mlir_program import AffineExpression, AffineMap, Operation, Value
from fiberloom.workload.network import Kind


@dataclass(frozen=True)
class Access:
    """An operand and its index expressions."""

    value: Value
    ranks: tuple[AffineExpression, ...]

    @property
    def dims(self) -> set[int]:
        """Loops that index it."""
        return {d for rank in self.ranks for _, d in rank.terms}

    @property
    def windowed(self) -> bool:
        """Whether a rank is indexed by several loops."""
        return any(len(rank.terms) > 1 for rank in self.ranks)


@dataclass(frozen=True)
class Nest:
    """A perfect loop nest: trips of every loop, which loops reduce, the operands that the body reads, the one that it writes."""

    bounds: tuple[int, ...]
    reduces: tuple[bool, ...]
    inputs: tuple[Access, ...]
    output: Access

    @property
    def points(self) -> int:
        """Turns of the body."""
        return math.prod(self.bounds)


def bounds(graph: Graph, operation: Operation, maps: list[AffineMap], operands: list[Value]) -> tuple[int, ...]:
    """Trips of every loop, from the shapes of operands that it indexes alone.

    Raises:
        SpecError: if maps and operands do not fit together, or a loop's trips follow from no shape.
        UnsupportedError: for dynamic shapes.
    """
    where = graph.program.at(operation.line)
    if len(maps) != len(operands):
        raise SpecError(f"{operation.name}: {len(maps)} indexing maps for {len(operands)} operands", where=where)
    dims = {m.dims for m in maps}
    if len(dims) != 1 or any(m.symbols for m in maps):
        raise SpecError(
            f"{operation.name}: the indexing maps are not all over the same loops, without symbols", where=where
        )
    found: dict[int, int] = {}
    for number, (each, value) in enumerate(zip(maps, operands, strict=True)):
        shape = graph.shape(value) if value.type.ranked else ()
        if len(each.results) != len(shape):
            raise SpecError(
                f"{operation.name}: operand {number} is {value.type.text}, of rank {len(shape)}; "
                f"its indexing map gives {len(each.results)} indices",
                where=where,
            )
        for rank, extent in zip(each.results, shape, strict=True):
            if len(rank.terms) == 1 and abs(rank.terms[0][0]) == 1 and rank.offset in (0, extent - 1):
                dim = rank.terms[0][1]
                if found.setdefault(dim, extent) != extent:
                    raise SpecError(
                        f"{operation.name}: loop d{dim} makes {found[dim]} turns for one operand and {extent} for operand {number}",
                        where=where,
                    )
    total = dims.pop()
    missing = [f"d{d}" for d in range(total) if d not in found]
    if missing:
        raise SpecError(
            f"{operation.name}: how often {', '.join(missing)} turns follows from no operand's shape", where=where
        )
    trips = tuple(found[d] for d in range(total))
    for number, (each, value) in enumerate(zip(maps, operands, strict=True)):
        for rank, extent in zip(each.results, graph.shape(value) if value.type.ranked else (), strict=True):
            reach = rank.offset + sum(max(0, c) * (trips[d] - 1) for c, d in rank.terms)
            if not rank.problem and reach >= extent:
                raise SpecError(
                    f"{operation.name}: operand {number} is {value.type.text}, but is indexed up to {reach}",
                    where=where,
                )
    return trips


def add(graph: Graph, operation: Operation, nest: Nest, body: Body, op: str = "") -> None:
    """Add a loop nest to the graph, as an Einsum if it conforms."""
    if body.unreadable:
        graph.unknown(operation, body.unreadable)
        return
    results = [_made(operation, nest)]
    inputs = [a.value for a in nest.inputs]
    reads = _initial(graph, operation, nest, body)
    problem = body.problem or _problem(nest)
    if not problem and not any(nest.reduces) and any(a.dims >= nest.output.dims for a in nest.inputs):
        problem = "no loop reduces"
    if not problem:
        kept = replace(nest, inputs=tuple(nest.inputs[i] for i in body.factors))
        problem = _einsum(graph, operation, kept, body.note, op)
        if not problem:
            return
    for access in nest.inputs:
        smaller = access.dims < nest.output.dims and access.value.type.is_float
        if (smaller or graph.is_repeated(access.value)) and not any(nest.reduces):
            graph.take_as_parameter(access.value)
    outputs = math.prod(b for b, r in zip(nest.bounds, nest.reduces, strict=True) if not r)
    kind, operations, note = Kind.ELEMENTWISE, body.operations * nest.points, ""
    if body.looks_up:
        kind = Kind.LOOKUP
        for value in _tables(operation):
            graph.take_as_parameter(value)
            inputs.append(value)
    elif any(nest.reduces):
        windows = any(a.windowed for a in nest.inputs) and bool(body.problem)
        kind = Kind.POOLING if windows else Kind.REDUCTION
        operations = body.operations * (nest.points - outputs)
        note = f"line {operation.line}: no Einsum: {problem}" if len(nest.inputs) > 1 and not windows else ""
    elif body.operations == 0:
        kind = Kind.LAYOUT
    graph.emit(
        operation, kind, inputs=[*inputs, *reads], outputs=results, operations=operations, note=note, op=op,
        exponential="math.exp" in body.functions or "math.exp2" in body.functions,
    )  # fmt: skip
    if kind is Kind.LAYOUT and len(nest.inputs) == 1 and nest.inputs[0].dims < nest.output.dims:
        graph.derive(_made(operation, nest), nest.inputs[0].value, repeats=True)


def _made(operation: Operation, nest: Nest) -> Value:
    return operation.results[0] if operation.results else nest.output.value


def _initial(graph: Graph, operation: Operation, nest: Nest, body: Body) -> list[Value]:
    """The tensor that an accumulation begins with, if it holds data (a bias)."""
    start = operation.groups.get("init", [])
    if not body.accumulates or not start:
        return []
    for value in start:
        if graph.is_repeated(value):
            graph.take_as_parameter(value)
    return [v for v in start if graph.name(v) is not None]


def _tables(operation: Operation) -> list[Value]:
    return [o.operands[0] for o in operation.walk() if o.name in ("tensor.extract", "memref.load") and o.operands]


def _problem(nest: Nest) -> str:
    """Why a nest with a multiply-add is no Einsum."""
    for access in (*nest.inputs, nest.output):
        for rank in access.ranks:
            if rank.problem:
                return f"the index {rank.problem}"
    reduced = {d for d, r in enumerate(nest.reduces) if r}
    both = sorted(nest.output.dims & reduced)
    if both and not nest.output.windowed:
        return f"the output is indexed by d{both[0]}, which reduces"
    idle = sorted(set(range(len(nest.bounds))) - reduced - nest.output.dims)
    idle = [d for d in idle if nest.bounds[d] > 1]
    if idle:
        return f"the parallel loop d{idle[0]} does not index the output: elements are written several times"
    return ""


def _einsum(graph: Graph, operation: Operation, nest: Nest, note: str, op: str) -> str:
    """Add an Einsum; why not, if it can't be."""
    moved = any(c < 0 or rank.offset for a in (*nest.inputs, nest.output) for rank in a.ranks for c, _ in rank.terms)
    if moved:
        note = "; ".join(n for n in (note, "windows begin at an offset or run backwards, which costs the same") if n)
    if len(nest.inputs) == 2 and (
        _convolution(graph, operation, nest, note, op) or _product(graph, operation, nest, note, op)
    ):
        return ""
    live = {d: f"d{d}" for d, bound in enumerate(nest.bounds) if bound > 1}
    used = live or {0: "d0"}
    try:
        tensors = [
            Tensor(name=name, ranks=_ranks(access, used), is_output=name == "O")
            for name, access in zip(
                [*"ABCDEFGHIJKLMN"[: len(nest.inputs)], "O"], (*nest.inputs, nest.output), strict=True
            )
        ]
        einsum = Einsum(shape={name: nest.bounds[d] for d, name in used.items()}, tensors=tuple(tensors))
    except ValidationError as error:
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    values = {t.name: a.value for t, a in zip(tensors, (*nest.inputs, nest.output), strict=True)}
    values["O"] = _made(operation, nest)
    contraction.emit_einsum(graph, operation, einsum, values, note, op)
    return ""


def _ranks(access: Access, names: dict[int, str]) -> tuple[tuple[IndexTerm, ...], ...]:
    ranks = [tuple(IndexTerm(abs(c), names[d]) for c, d in rank.terms if d in names) for rank in access.ranks]
    return tuple(rank for rank in ranks if rank)


def _order(nest: Nest, access: Access, dims: set[int]) -> list[int]:
    return [d for rank in access.ranks for _, d in rank.terms if d in dims and nest.bounds[d] > 1]


def _fuses(nest: Nest, accesses: tuple[Access, Access], dims: set[int]) -> bool:
    """Whether loops can be one loop: next to each other and in the same order in both tensors that they index."""
    orders = []
    for access in accesses:
        live = _order(nest, access, set(range(len(nest.bounds))))
        mine = [d for d in live if d in dims]
        if mine:
            at = live.index(mine[0])
            if live[at : at + len(mine)] != mine:
                return False
        orders.append(mine)
    return orders[0] == orders[1]


def _product(graph: Graph, operation: Operation, nest: Nest, note: str, op: str) -> bool:
    """A product of matrices, if the loops fall into batch, rows, columns and depth, each in one piece."""
    left, right = nest.inputs
    out = nest.output
    if any(a.windowed or any(abs(c) != 1 for r in a.ranks for c, _ in r.terms) for a in (left, right, out)):
        return False
    if any(len(a.dims) != sum(len(r.terms) for r in a.ranks) for a in (left, right, out)):
        return False
    batch = left.dims & right.dims & out.dims
    rows, columns, depth = (
        (left.dims & out.dims) - batch,
        (right.dims & out.dims) - batch,
        (left.dims & right.dims) - batch,
    )
    if set(range(len(nest.bounds))) - batch - rows - columns - depth - {d for d, b in enumerate(nest.bounds) if b == 1}:
        return False
    pieces = (((left, out), rows), ((right, out), columns), ((left, right), depth))
    if not all(_fuses(nest, pair, dims) for pair, dims in pieces):
        return False

    def size(dims: set[int]) -> int:
        return math.prod(nest.bounds[d] for d in dims)

    contraction.product(
        graph, operation, left.value, right.value, _made(operation, nest),
        batch=size(batch), rows=size(rows), columns=size(columns), depth=size(depth), note=note, op=op,
        row_extents=[nest.bounds[d] for d in _order(nest, left, rows)],
        column_extents=[nest.bounds[d] for d in _order(nest, right, columns)],
    )  # fmt: skip
    return True


def _convolution(graph: Graph, operation: Operation, nest: Nest, note: str, op: str) -> bool:
    """A convolution, if one input is indexed by windows: a position of the output and a place in the kernel."""
    first, second = nest.inputs
    image, kernel = (first, second) if first.windowed else (second, first)
    if not image.windowed or kernel.windowed or nest.output.windowed:
        return False
    out = nest.output
    places: list[tuple[int, int, int, int]] = []
    for rank in image.ranks:
        if len(rank.terms) < 2:
            continue
        position = [(abs(c), d) for c, d in rank.terms if d in out.dims and d not in kernel.dims]
        place = [(abs(c), d) for c, d in rank.terms if d in kernel.dims and d not in out.dims]
        if len(rank.terms) != 2 or len(position) != 1 or len(place) != 1:
            return False
        places.append((*position[0], *place[0]))
    if any(abs(c) != 1 for a in (kernel, out) for r in a.ranks for c, _ in r.terms):
        return False
    windows = {d for _, p, _, r in places for d in (p, r)}
    if any(abs(c) != 1 for r in image.ranks for c, d in r.terms if d not in windows):
        return False
    plain = {d for rank in image.ranks for _, d in rank.terms} - windows

    def size(dims: set[int]) -> int:
        return math.prod(nest.bounds[d] for d in dims)

    groups = plain & kernel.dims & out.dims
    batch, channels = (plain & out.dims) - groups, (plain & kernel.dims) - groups
    filters = (kernel.dims & out.dims) - groups
    rest = set(range(len(nest.bounds))) - windows - groups - batch - channels - filters
    if any(nest.bounds[d] > 1 for d in rest) or not 1 <= len(places) <= 3:
        return False
    g = size(groups)
    results = [nest.bounds[p] for _, p, _, _ in places]
    contraction.convolution(
        graph, operation, image.value, kernel.value, _made(operation, nest),
        batch=size(batch), outputs=g * size(filters), inputs=g * size(channels), extents=results, results=results,
        window=[nest.bounds[r] for _, _, _, r in places], stride=[a for a, _, _, _ in places],
        dilation=[b for _, _, b, _ in places], spread=[1] * len(places), groups=g, note=note, op=op,
    )  # fmt: skip
    return True
