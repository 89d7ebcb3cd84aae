"""Nodes of an ONNX graph in an order in which they can be computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from fiberloom.errors import Location, SpecError
from fiberloom.workload.importers.onnx.file import load_onnx, require_text

_STANDARD: Final = frozenset({"", "ai.onnx"})


class Step(NamedTuple):
    """A node, with names as they are in the whole graph.

    Attributes:
        domain: empty for the standard operators.
        inputs: an optional input that is not given has an empty name.
        node: its ``NodeProto``, for attributes.
    """

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    node: Any

    @property
    def title(self) -> str:
        """Name and operator, for messages."""
        return f"node '{self.name}' ({self.domain + '.' if self.domain else ''}{self.op})"

    def attributes(self) -> dict[str, Any]:
        """Attributes by name as plain values; text is `str`."""
        value_of = load_onnx(".helper").get_attribute_value
        made = {}
        for attribute in self.node.attribute:
            value = value_of(attribute)
            made[attribute.name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        return made

    def given(self, index: int) -> str:
        """Name of an input, or empty."""
        return self.inputs[index] if index < len(self.inputs) else ""


def steps_of(
    nodes: Iterable[Any], names: set[str], file: str, rename: Mapping[str, str] | None = None, inside: str = ""
) -> list[Step]:
    """Steps of nodes, each with a name of its own.

    Args:
        names: names that are taken; those of the steps are added.
        rename: new names of tensors, for nodes of an inner graph.
        file: for messages.
        inside: put before names of nodes.
    """
    made = []
    for number, node in enumerate(nodes):
        op = node.op_type
        require_text((op, node.name, node.domain), file)
        name = inside + (node.name or f"{op}_{number}")
        if name in names:
            name = f"{name}#{number}"
            while name in names:
                name += "'"
        names.add(name)
        inputs, outputs = tuple(node.input), tuple(node.output)
        require_text((*inputs, *outputs), file)
        if rename:
            inputs = tuple(rename.get(i, i) for i in inputs)
            outputs = tuple(rename.get(o, o) for o in outputs)
        made.append(Step(name, op, "" if node.domain in _STANDARD else node.domain, inputs, outputs, node))
    return made


def captured(graph: Any) -> Iterator[str]:
    """Names that an inner graph takes from outside."""
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    own |= {s.values.name for s in graph.sparse_initializer}
    own.update(o for node in graph.node for o in node.output)
    for node in graph.node:
        yield from (i for i in node.input if i and i not in own)
        for inner in inner_graphs(node):
            yield from (name for name in captured(inner) if name not in own)
    yield from (o.name for o in graph.output if o.name not in own)


def inner_graphs(node: Any) -> list[Any]:
    """Graphs among a node's attributes: branches and bodies."""
    return [a.g for a in node.attribute if a.HasField("g")] + [g for a in node.attribute for g in a.graphs]


_WITH_GRAPHS: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})


def needs(step: Step) -> Sequence[str]:
    """Tensors that must be there before the step."""
    if step.op in _WITH_GRAPHS:
        return [*(i for i in step.inputs if i), *(name for g in inner_graphs(step.node) for name in captured(g))]
    return step.inputs


def ordered(steps: list[Step], given: Container[str], file: str) -> list[Step]:
    """The steps so that each comes after those whose outputs it reads; in the file's order if that is one.

    Takes time in proportion to the number of names.

    Raises:
        SpecError: if two nodes make one tensor, a tensor is made by none, or nodes wait for one another.
    """
    maker: dict[str, int] = {}
    for index, step in enumerate(steps):
        for output in step.outputs:
            if not output:
                continue
            if output in maker or output in given:
                other = steps[maker[output]].title if output in maker else "an input or initializer"
                raise SpecError(f"tensor '{output}' is made twice, also by {other}", where=_at(file, step))
            maker[output] = index
    in_order = True
    for index, step in enumerate(steps):
        for name in needs(step):
            if not name or name in given:
                continue
            if name not in maker:
                raise SpecError(f"its input '{name}' is made by no node and is no input", where=_at(file, step))
            if maker[name] >= index:
                in_order = False
    if in_order:
        return steps
    waits = [{maker[name] for name in needs(step) if name in maker} for step in steps]
    return _sorted(steps, waits, file)


def _sorted(steps: list[Step], waits: list[set[int]], file: str) -> list[Step]:
    """Kahn's algorithm."""
    after: list[list[int]] = [[] for _ in steps]
    left = [len(before) for before in waits]
    for index, before in enumerate(waits):
        for other in before:
            after[other].append(index)
    ready = deque(index for index, number in enumerate(left) if number == 0)
    made = []
    while ready:
        index = ready.popleft()
        made.append(steps[index])
        for other in after[index]:
            left[other] -= 1
            if left[other] == 0:
                ready.append(other)
    if len(made) == len(steps):
        return made
    at = next(index for index, number in enumerate(left) if number)
    seen: dict[int, int] = {}
    while at not in seen:
        seen[at] = len(seen)
        at = next(other for other in waits[at] if left[other])
    cycle = [i for i, place in seen.items() if place >= seen[at]][::-1]
    first = cycle.index(min(cycle))
    cycle = cycle[first:] + cycle[:first]
    shown = " → ".join(f"'{steps[i].name}'" for i in cycle[:6]) + (" → …" if len(cycle) > 6 else "")
    raise SpecError(
        f"{len(cycle)} nodes wait for one another: {shown}",
        where=Location(file),
        hint="an ONNX graph has no cycles; repetition is written as Loop or Scan",
    )


def _at(file: str, step: Step) -> Location:
    return Location(file, field=step.title)
