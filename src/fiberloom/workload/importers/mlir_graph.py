"""From operations of MLIR to a network: names, roles, constants, calls and repetition.

Values that hold one number everywhere (a splat constant and what is broadcast from it) are no tensors: a machine needs no memory for
them. They are left out of operators' inputs, and the network's notes count them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from fiberloom.errors import SpecError, UnsupportedError, nearest
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.importers.mlir_attention import Product, with_attention
from fiberloom.workload.importers.mlir_program import Block, Function, Operation, Program, Value, ValueType
from fiberloom.workload.network import Kind, Network, NetworkTensor, Operator, Role

STATIC: str = "give static extents: lower the function for the shapes that it is to run with"
"""The way out of dynamic shapes."""


_MOST = 200_000
"""Operators of a network; functions that call others twice, and so on, make more than anyone can wait for."""


@dataclass(frozen=True)
class Generated:
    """A value that needs no memory: one number everywhere, or a counter; `number` if it is a known whole number."""

    number: int | None = None


class Graph:
    """A network in the making.

    Args:
        parameters: arguments of the function that are parameters, by name or position; None finds them by their use.
    """

    def __init__(self, program: Program, parameters: Sequence[str | int] | None = None) -> None:
        self.program = program
        self.count = 1
        self.folded = 0
        self.notes: list[str] = []
        self.products: dict[str, Product] = {}
        self.exponentials: set[str] = set()
        self.last = ""
        self._asked = parameters
        self._path = ""
        self._bound: dict[Value, str | Generated] = {}
        self._tensors: dict[str, NetworkTensor] = {}
        self._operators: dict[str, Operator] = {}
        self._origin: dict[str, str] = {}
        self._repeated: set[str] = set()
        self._arguments: list[str] = []
        self._parameters: set[str] = set()
        self._written: set[str] = set()
        self._outputs: list[str] = []
        self._calls: list[str] = []
        self._numbers: dict[str, int] = {}

    # Values

    def bind(self, value: Value, to: str | Generated) -> None:
        """Let a value be a tensor of the network, or one that needs no memory."""
        self._bound[value] = to
        if isinstance(to, Generated):
            self.folded += 1

    def bound(self, value: Value) -> str | Generated | None:
        """The tensor that a value is."""
        return self._bound.get(value)

    def name(self, value: Value) -> str | None:
        """Name of the tensor that a value is, None if it needs no memory."""
        found = self._bound.get(value)
        return found if isinstance(found, str) else None

    def shape(self, value: Value) -> tuple[int, ...]:
        """Static shape of a value.

        Raises:
            UnsupportedError: if an extent or the rank is known at run time only.
        """
        return static_shape(value.type, self.program, value.line)

    def elements(self, value: Value) -> int:
        """Number of elements of a value."""
        return math.prod(self.shape(value))

    def define(self, value: Value, role: Role = Role.ACTIVATION) -> str:
        """A new tensor for a value."""
        name = _unique(f"{self._path}%{value.name}", self._tensors, self._numbers)
        number_format, bits = value.type.number_format
        self._tensors[name] = NetworkTensor(name, self.shape(value), role, number_format, max(1, bits))
        self._bound[value] = name
        return name

    def tensor(self, name: str) -> NetworkTensor:
        """A tensor defined so far."""
        return self._tensors[name]

    def is_tensor(self, value: Value) -> bool:
        """Whether a value has elements in memory (a token has none)."""
        return value.type.ranked

    # Parameters

    def origin(self, value: Value) -> str | None:
        """The argument or constant that a value is a rearrangement of."""
        name = self.name(value)
        return self._origin.get(name) if name else None

    def derive(self, value: Value, source: Value, repeats: bool = False) -> None:
        """Remember that a value only rearranges another, or repeats it."""
        made, name, origin = self.name(value), self.name(source), self.origin(source)
        if made and name and origin:
            self._origin[made] = origin
            if repeats or name in self._repeated:
                self._repeated.add(made)

    def is_repeated(self, value: Value) -> bool:
        """Whether a value is an argument or constant repeated along new dimensions, as biases and scales are."""
        return self.name(value) in self._repeated

    def is_weight(self, value: Value) -> bool:
        """Whether a value is a rearrangement of a parameter."""
        origin = self.origin(value)
        return origin is not None and origin in self._parameters

    def take_as_parameter(self, value: Value) -> None:
        """The value is used as weights are: the argument it comes from is a parameter (unless the user said which are)."""
        origin = self.origin(value)
        if origin is not None and self._asked is None:
            self._parameters.add(origin)

    # Operators

    def emit(
        self,
        operation: Operation,
        kind: Kind,
        *,
        inputs: Iterable[Value] | None = None,
        outputs: Iterable[Value] | None = None,
        einsum: Einsum | None = None,
        operands: Mapping[str, Value] | None = None,
        operations: int = 0,
        note: str = "",
        op: str = "",
        exponential: bool = False,
    ) -> None:
        """Add an operator; results that are tensors get a name. `exponential`: it computes exponentials, as softmax does."""
        used = operation.operands if inputs is None else list(inputs)
        if kind is Kind.EINSUM:
            used = [*used, *operation.groups.get("init", [])]  # what is added to, such as a bias
        sources = tuple(dict.fromkeys(n for v in used if (n := self.name(v)) is not None))
        made = operation.results if outputs is None else list(outputs)
        results = []
        for value in made:
            if value.type.ranked:
                name = self.name(value)
                if name is None or value in operation.results:
                    name = self.define(value)
                self._written.add(name)
                results.append(name)
        if len(self._operators) >= _MOST:
            raise UnsupportedError(
                f"more than {_MOST:,} operators when calls are followed", where=self.program.at(operation.line)
            )
        name = self.operator_name(operation)
        named = {}
        for tensor, value in (operands or {}).items():
            where = self.name(value)
            if where is not None:
                named[tensor] = where
        self._operators[name] = Operator(
            name, op or operation.name, kind, sources, tuple(dict.fromkeys(results)),
            einsum=einsum.model_copy(update={"name": name}) if einsum is not None else None,
            operands=named, operations=operations, count=self.count, note=note,
        )  # fmt: skip
        self.last = name
        if exponential or kind is Kind.SOFTMAX:
            self.exponentials.add(name)
        if kind is Kind.LAYOUT:
            for value in made:
                if used:
                    self.derive(value, used[0], "broadcast" in operation.name)

    def unknown(self, operation: Operation, why: str) -> None:
        """Add an operator that no total includes."""
        self.emit(operation, Kind.UNKNOWN, note=f"line {operation.line}: {why}")

    def fold(self, operation: Operation, number: int | None = None) -> None:
        """The results need no memory."""
        for value in operation.results:
            self.bind(value, Generated(number))

    def operator_name(self, operation: Operation) -> str:
        """A name that no operator has yet: the file's own for it, or what it is and its result."""
        if operation.location:
            base = operation.location.split("/", 1)[-1] if operation.location.startswith("jit(") else operation.location
        else:
            base = operation.short + (f"_{operation.results[0].name.partition('#')[0]}" if operation.results else "")
        return _unique(self._path + base, self._operators, self._numbers)

    # Functions

    def enter(self, function: Function, several: bool) -> None:
        """Start with a function's arguments as inputs.

        Args:
            several: whether the network is made of several functions; names then begin with the function's.
        """
        self._path = f"{function.name}/" if several else ""
        self._calls = [function.name]
        for value in function.block.arguments:
            if not self.is_tensor(value):
                self.bind(value, Generated())
                continue
            name = self.define(value, Role.INPUT)
            self._arguments.append(name)
            self._origin[name] = name

    def constant(self, value: Value, role: Role = Role.PARAMETER) -> str:
        """A tensor whose elements the file gives."""
        name = self.define(value, role)
        self._origin[name] = name
        if role is Role.PARAMETER:
            self._parameters.add(name)
        return name

    def leave(self, returned: Iterable[Value]) -> None:
        """What a function returns is the network's output."""
        self._outputs.extend(n for v in returned if (n := self.name(v)) is not None)

    @contextmanager
    def call(self, operation: Operation, function: Function) -> Iterator[None]:
        """Inside a called function: its arguments are the operands.

        Raises:
            SpecError: if the arguments are not as many.
            UnsupportedError: if the function calls itself.
        """
        where = self.program.at(operation.line)
        if function.name in self._calls:
            raise UnsupportedError(f"function '@{function.name}' calls itself; how often is not known", where=where)
        arguments = function.block.arguments
        if len(arguments) != len(operation.operands):
            raise SpecError(
                f"'@{function.name}' has {len(arguments)} arguments and is called with {len(operation.operands)}",
                where=where,
            )
        path = self._path
        for inner, outer in zip(arguments, operation.operands, strict=True):
            self._pass_on(inner, outer)
        self._path = f"{path}{function.name}/"
        self._calls.append(function.name)
        yield
        self._calls.pop()
        self._path = path

    def returns(self, operation: Operation, values: Sequence[Value]) -> None:
        """After a call or a loop: its results are the values that were returned inside.

        Raises:
            SpecError: if they are not as many.
        """
        if len(values) != len(operation.results):
            raise SpecError(
                f"'{operation.name}' has {len(operation.results)} results; {len(values)} are returned",
                where=self.program.at(operation.line),
            )
        for outer, inner in zip(operation.results, values, strict=True):
            self._pass_on(outer, inner)

    @contextmanager
    def repeat(self, times: int) -> Iterator[None]:
        """Inside the body of a loop."""
        outside = self.count
        self.count *= times
        yield
        self.count = outside

    def alias(self, value: Value, of: Value) -> None:
        """The value is another one, unchanged."""
        self._pass_on(value, of)

    def _pass_on(self, inner: Value, outer: Value) -> None:
        found = self._bound.get(outer)
        self._bound[inner] = found if found is not None else Generated()

    def network(self, name: str, source: str) -> Network:
        """The network, when all functions are read.

        Raises:
            SpecError: if `parameters` names an argument that is not there.
        """
        parameters = self._parameters | self._named_parameters()
        tensors = dict(self._tensors)
        for argument in self._arguments:
            if argument in parameters:
                tensors[argument] = replace(tensors[argument], role=Role.PARAMETER)
            elif argument in self._written:
                tensors[argument] = replace(tensors[argument], role=Role.OUTPUT)
        for output in self._outputs:
            if tensors[output].role is Role.ACTIVATION:
                tensors[output] = replace(tensors[output], role=Role.OUTPUT)
        notes = list(self.notes)
        if self.folded:
            notes.append(
                f"{self.folded} values that hold one number everywhere (or count) take no memory and no operator"
            )
        if self._asked is None and parameters & set(self._arguments):
            notes.append(
                "arguments that are used as weights, biases, scales or tables are taken as parameters; "
                "parameters=[…] names them instead"
            )
        used = {n for o in self._operators.values() for n in (*o.inputs, *o.outputs)} | {
            *self._arguments,
            *self._outputs,
        }
        kept = {n: t for n, t in tensors.items() if n in used}
        operators = with_attention(tuple(self._operators.values()), self.products, self.exponentials)
        return Network(name, operators, kept, source, tuple(notes))

    def _named_parameters(self) -> set[str]:
        found = set()
        for given in self._asked or ():
            if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < len(self._arguments):
                found.add(self._arguments[given])
            elif isinstance(given, str) and "%" + given.lstrip("%") in self._arguments:
                found.add("%" + given.lstrip("%"))
            else:
                raise SpecError(
                    f"parameters: there is no argument {given!r}", hint=nearest(str(given), self._arguments)
                )
        return found


def static_shape(kind: ValueType, program: Program, line: int) -> tuple[int, ...]:
    """The shape of a type.

    Raises:
        UnsupportedError: if an extent or the rank is known at run time only.
    """
    if kind.shape is None:
        what = "has no rank" if kind.ranked else "is no tensor"
        raise UnsupportedError(f"{kind.text} {what}", where=program.at(line), hint=STATIC if kind.ranked else None)
    known = tuple(e for e in kind.shape if e is not None)
    if len(known) < len(kind.shape):
        raise UnsupportedError(
            f"{kind.text} has extents that are known at run time only", where=program.at(line), hint=STATIC
        )
    return known


def _unique(base: str, taken: Mapping[str, object], numbers: dict[str, int]) -> str:
    """A name that is not taken: the base, or the base and a number."""
    name = base
    while name in taken:
        numbers[base] = numbers.get(base, 1) + 1
        name = f"{base}_{numbers[base]}"
    return name


def network_of(
    program: Program,
    source: str,
    parameters: Sequence[str | int] | None,
    walk: Callable[[Graph, Block], list[Value]],
) -> Network:
    """The network of the functions that no other function calls; `walk` adds the operations of a block and returns what it returns."""
    graph = Graph(program, parameters)
    roots = program.roots()
    for function in roots:
        graph.enter(function, len(roots) > 1)
        graph.leave(walk(graph, function.block))
    if len(roots) > 1:
        graph.notes.append("made of all functions that no other calls: " + ", ".join(f.name for f in roots))
    name = program.name or (roots[0].name if len(roots) == 1 else Path(source).stem)
    return graph.network(name, source)
