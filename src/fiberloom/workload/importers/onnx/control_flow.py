"""If, Loop and Scan of ONNX graphs.

A branch whose condition follows from shapes and constants is taken in place. Everything else depends on the data: it stays an
unknown operator, and its note says what one pass through its body would cost.
"""

from __future__ import annotations

import copy
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from fiberloom.errors import SpecError
from fiberloom.workload.importers.onnx.elements import BOOL, INT64
from fiberloom.workload.importers.onnx.file import load_onnx
from fiberloom.workload.importers.onnx.graph import Step
from fiberloom.workload.importers.onnx.known import Value
from fiberloom.workload.importers.onnx.shapes import Inference
from fiberloom.workload.importers.onnx.translation import Translation
from fiberloom.workload.network import Kind

_GRAPHS: Final = {"If": ("then_branch", "else_branch"), "Loop": ("body",), "Scan": ("body",)}


class Body(NamedTuple):
    """What one pass through an inner graph costs.

    Attributes:
        passes: how many there are, if known.
        outputs: what is known of its results.
    """

    nodes: int
    macs: int
    operations: int
    unknown: int
    passes: int | None
    outputs: tuple[Value, ...]


def take_control_flow(inference: Inference, step: Step) -> None:
    """Infer a step that has inner graphs: replace an If whose condition is known by its branch, size the results of others."""
    attributes = {a.name: a for a in step.node.attribute}
    for name in _GRAPHS[step.op]:
        if name not in attributes or not attributes[name].HasField("g"):
            raise SpecError(f"it has no graph '{name}'", where=inference.at(step))
        made = len(attributes[name].g.output) - (step.op == "Loop")
        if made < len(step.outputs):
            raise SpecError(
                f"graph '{name}' has {made} results for {len(step.outputs)} outputs", where=inference.at(step)
            )
    scanned = attributes["num_scan_inputs"].i if "num_scan_inputs" in attributes else 0
    if step.op == "Scan" and not 1 <= scanned <= len(step.inputs):
        raise SpecError(f"it scans {scanned} of its {len(step.inputs)} inputs", where=inference.at(step))
    if step.op == "If" and not step.given(0):
        raise SpecError("it has no condition", where=inference.at(step))
    if step.op == "If":
        condition = inference.values[step.inputs[0]].data
        if condition is not None and condition.size == 1:
            _take_branch(inference, step, attributes["then_branch" if bool(condition.reshape(())) else "else_branch"].g)
            return
        bodies = [body_of(inference, step, attributes[name].g, (), 1) for name in ("then_branch", "else_branch")]
        inference.bodies[step.name] = max(bodies, key=lambda b: (b.macs, b.operations))
        results = [_agreed([b.outputs[i] for b in bodies], step, n) for i, n in enumerate(step.outputs)]
    else:
        results = _repeated(inference, step, attributes)
    inference.live.append(step)
    for name, value in zip(step.outputs, results, strict=False):
        if name:
            given = inference.bound(name, inference.declared(name)) if inference.declared(name) is not None else None
            if not value.known and given is not None and given.known:
                value = given
            inference.values[name] = value if value.known else value._replace(why=_why(step, name))
    for name in step.outputs[len(results) :]:
        inference.values[name] = Value(0, None, why=_why(step, name))


def _why(step: Step, name: str) -> str:
    return f"the shape of '{name}', made by {step.title}, depends on the data"


def _agreed(values: list[Value], step: Step, name: str) -> Value:
    """What both branches have in common."""
    first, second = values
    if first.shape == second.shape:
        return first._replace(constant=False, data=None)
    return Value(first.element, None, why=_why(step, name))


def _take_branch(inference: Inference, step: Step, graph: Any) -> None:
    inference.folded["If"] += 1
    steps, results = inference.branch(graph, step)
    for inner in steps:
        inference.take(inner)
    for name, result in zip(step.outputs, results, strict=False):
        passed_on = load_onnx().NodeProto(op_type="Identity", input=[result], output=[name])
        inference.take(Step(f"{step.name}/{name}", "Identity", "", (result,), (name,), passed_on))


def _repeated(inference: Inference, step: Step, attributes: Mapping[str, Any]) -> list[Value]:
    """Results of a Loop or Scan: carried values keep their shape if a pass leaves it as it is; the others are stacked."""
    body, passes, carried, given = _passes(inference, step, attributes)
    made = inference.bodies[step.name] = body_of(inference, step, body, given, passes)
    outputs = made.outputs[1:] if step.op == "Loop" else made.outputs
    results = []
    for index, value in enumerate(outputs):
        if index < carried:
            start = given[index + 2] if step.op == "Loop" else given[index]
            results.append(
                value._replace(constant=False, data=None) if value.shape == start.shape else Value(value.element, None)
            )
        elif passes is None or value.shape is None:
            results.append(Value(value.element, None))
        else:
            results.append(Value(value.element, (passes, *value.shape)))
    return results


def _passes(
    inference: Inference, step: Step, attributes: Mapping[str, Any]
) -> tuple[Any, int | None, int, tuple[Value, ...]]:
    """Body, number of passes if known, number of carried values, and what the body's inputs are."""
    body = attributes["body"].g
    values = [inference.values[n] if n else Value(0, None) for n in step.inputs]
    plain = [v._replace(constant=False, data=None) for v in values]
    if step.op == "Loop":
        trips = values[0].data if values and step.inputs[0] else None
        trips = trips if trips is not None and trips.size == 1 else None
        limit = None if trips is None else int(trips.reshape(()))
        forever = not (len(values) > 1 and step.inputs[1]) or (
            values[1].data is not None and bool(values[1].data.all())
        )
        carried = max(0, len(step.inputs) - 2)
        return body, limit if forever else None, carried, (Value(INT64, ()), Value(BOOL, ()), *plain[2:])
    scanned = attributes["num_scan_inputs"].i
    carried = len(step.inputs) - scanned
    axes = list(attributes["scan_input_axes"].ints) if "scan_input_axes" in attributes else []
    axes += [0] * (scanned - len(axes))
    passes: int | None = None
    rows = []
    for value, axis in zip(plain[carried:], axes, strict=False):
        if not value.shape:
            rows.append(value)
            continue
        axis %= len(value.shape)
        passes = value.shape[axis] if passes is None else passes
        rows.append(value._replace(shape=(*value.shape[:axis], *value.shape[axis + 1 :])))
    return body, passes, carried, (*plain[:carried], *rows)


def body_of(inference: Inference, step: Step, graph: Any, given: tuple[Value, ...], passes: int | None) -> Body:
    """What one pass through an inner graph costs, with the surrounding values as they are; the surrounding walk is unchanged."""
    inner = copy.copy(inference)
    inner.values, inner.stored = ChainMap({}, inference.values), ChainMap({}, inference.stored)
    inner.live, inner.folded = [], inference.folded.__class__()
    for index, info in enumerate(graph.input):
        value = given[index] if index < len(given) else inference.bound(info.name, info.type)
        inner.values[f"{step.name}/{info.name}"] = value
    rename = {info.name: f"{step.name}/{info.name}" for info in graph.input}
    try:
        steps, results = inner.branch(graph, step, rename)
        for one in steps:
            inner.take(one)
    except SpecError as error:
        if error.where is not None and error.where.field:
            raise
        raise SpecError(error.problem, where=inner.at(step), hint=error.hint) from None
    from fiberloom.workload.importers.onnx.reading import translate

    done = translate(inner, inner.live, {})
    return Body(
        len(graph.node),
        sum(o.macs for o in done.operators),
        sum(o.operations * o.count for o in done.operators),
        sum(o.kind is Kind.UNKNOWN for o in done.operators),
        passes,
        tuple(inner.values[name] for name in results),
    )


def unknown(t: Translation, step: Step) -> None:
    """An If whose condition depends on the data, a Loop, or a Scan."""
    body = t.inference.bodies[step.name]
    if step.op == "If":
        what, passes = "control flow: which branch is taken depends on the data; the larger one has", ""
    else:
        what = "control flow: one pass through its body has"
        passes = f", {body.passes:,} passes" if body.passes is not None else ", and how many passes depends on the data"
    cost = f"{body.nodes:,} nodes with {body.macs:,} MACs and {body.operations:,} other operations"
    lost = f" and {body.unknown} operators that are not known" if body.unknown else ""
    t.add(step, Kind.UNKNOWN, note=f"{what} {cost}{lost}{passes}; no total includes them")


CONTROL_FLOW: Final[Mapping[str, Callable[[Translation, Step], None]]] = dict.fromkeys(("If", "Loop", "Scan"), unknown)
"""Operators with inner graphs."""
