"""Reading a network from an ONNX file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from fiberloom.errors import Location, SpecError, nearest
from fiberloom.workload.importers.onnx.attention import ATTENTION
from fiberloom.workload.importers.onnx.contractions import CONTRACTIONS
from fiberloom.workload.importers.onnx.control_flow import CONTROL_FLOW
from fiberloom.workload.importers.onnx.file import OnnxFile, open_model
from fiberloom.workload.importers.onnx.graph import Step
from fiberloom.workload.importers.onnx.kinds import KINDS
from fiberloom.workload.importers.onnx.onnx_runtime_shapes import MICROSOFT
from fiberloom.workload.importers.onnx.recurrent import RECURRENT
from fiberloom.workload.importers.onnx.shapes import Inference
from fiberloom.workload.importers.onnx.translation import Translation, Unresolved
from fiberloom.workload.network import Kind, Network, Operator, Role

_RULES: Final[Mapping[str, Callable[[Translation, Step], None]]] = {
    **KINDS,
    **CONTRACTIONS,
    **ATTENTION,
    **RECURRENT,
    **CONTROL_FLOW,
}


def read(
    path: str | Path,
    *,
    dims: Mapping[str, int] | None = None,
    name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Network:
    """The network in an ONNX file.

    Weights are not needed and not kept; see `tensor_values` for them.

    Args:
        path: a ``.onnx`` file. Files of external data that are missing are noted in the network, not fatal.
        dims: extents of dynamic axes by their names in the file (``{"batch": 1}``), or as ``"tensor[axis]"`` or ``"tensor.axis"``
            for axes without a name. ``batch`` is the first axis of the inputs if none has that name.
        name: of the network; by default the file's.
        progress: called with the nodes that are done and how many there are, now and then.

    Raises:
        SpecError: if the file can't be read as ONNX, its nodes do not fit together, or axes of its inputs are not bound.
        MissingExtraError: if `onnx` is not installed.
    """
    dims = dict(dims or {})
    opened = open_model(path)
    inference = Inference(opened.path, opened.model, dims, progress)
    _bind_inputs(inference, opened)
    inference.run(opened.model.graph)
    unused = [key for key in dims if key not in inference.used_dims]
    if unused:
        known = _axis_names(opened)
        raise SpecError(
            f"there is no dynamic axis '{unused[0]}'", where=Location(opened.path), hint=nearest(unused[0], known)
        )
    roles = _roles(opened)
    steps, dead = _needed(inference.live, list(roles.outputs))
    translation = translate(inference, steps, roles.all)
    for output in roles.outputs:
        translation.tensor(output)
    notes = [*opened.notes, *sorted(inference.newer)]
    if inference.folded:
        notes.append(f"{_counted(inference.folded)} computed before any run, from constants and shapes alone")
    if dead:
        notes.append(f"{_counted(dead)} left out: no output needs them")
    return Network(
        name=name or Path(opened.path).stem,
        operators=with_shares(translation),
        tensors=translation.tensors,
        source=Path(opened.path).name,
        notes=tuple(notes),
    )


def translate(inference: Inference, steps: list[Step], roles: Mapping[str, Role]) -> Translation:
    """Operators and tensors of steps whose shapes have been inferred."""
    translation = Translation(inference, steps, roles)
    for step in steps:
        rule = _RULES.get(step.op) if step.domain in {"", MICROSOFT} else None
        if rule is None:
            where = f"of domain '{step.domain}' " if step.domain else ""
            translation.add(step, Kind.UNKNOWN, note=f"operator '{step.op}' {where}is not known")
            continue
        try:
            rule(translation, step)
        except Unresolved as reason:
            empty = any(
                0 in translation.values[n].extents
                for n in (*step.inputs, *step.outputs)
                if n and translation.values[n].known
            )
            kind = Kind.LAYOUT if empty else Kind.UNKNOWN
            translation.add(step, kind, note=str(reason))
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            # The standard's inference accepted the node, or has none for it; what is missing is an attribute or an axis.
            translation.add(
                step, Kind.UNKNOWN, note=f"its attributes or inputs are not those of the operator ({error})"
            )
    return translation


def with_shares(translation: Translation) -> tuple[Operator, ...]:
    """The operators; those that are unknown say which share of all elements they write."""
    import dataclasses

    def written(operator: Operator) -> int:
        return sum(translation.tensors[name].elements for name in operator.outputs)

    if all(o.kind is not Kind.UNKNOWN for o in translation.operators):
        return tuple(translation.operators)
    total = sum(map(written, translation.operators))
    made = []
    for operator in translation.operators:
        if operator.kind is Kind.UNKNOWN:
            elements = written(operator)
            share = (
                f"it writes {elements:,} elements, {elements / total:.1%} of what all operators write"
                if operator.outputs and total
                else "how much it writes is not known"
            )
            operator = dataclasses.replace(operator, note=f"{operator.note}; {share}")
        made.append(operator)
    return tuple(made)


class _Roles:
    """Inputs, outputs and states of a graph."""

    def __init__(self, inputs: list[str], outputs: list[str]) -> None:
        self.outputs = outputs
        self.all = {
            **{n: Role.STATE if n.startswith(("past", "cache")) else Role.INPUT for n in inputs},
            **{n: Role.STATE if n.startswith(("present", "cache")) else Role.OUTPUT for n in outputs},
        }


def _roles(opened: OnnxFile) -> _Roles:
    graph = opened.model.graph
    stored = {t.name for t in graph.initializer}
    return _Roles([i.name for i in graph.input if i.name not in stored], [o.name for o in graph.output])


def _bind_inputs(inference: Inference, opened: OnnxFile) -> None:
    """Give every input its shape.

    Raises:
        SpecError: if axes are not bound; all of them are named.
    """
    stored = {t.name for t in opened.model.graph.initializer}
    inputs = [info for info in opened.model.graph.input if info.name not in stored]
    _bind_batch(inference, opened, inputs)
    loose: dict[str, list[str]] = {}
    shapeless = []
    for info in inputs:
        value = inference.bound(info.name, info.type)
        inference.values[info.name] = value
        if not info.type.HasField("tensor_type"):
            continue
        if value.shape is None:
            shapeless.append(info.name)
            continue
        for axis, extent in enumerate(value.shape):
            if extent is None:
                place = f"{info.name}[{axis}]"
                loose.setdefault(info.type.tensor_type.shape.dim[axis].dim_param or place, []).append(place)
    if not loose and not shapeless:
        return
    problem = []
    if loose:
        parts = [
            f"'{axis}'" + (f" ({', '.join(places[:4])}{', …' if len(places) > 4 else ''})" if places != [axis] else "")
            for axis, places in loose.items()
        ]
        are = "axis is" if len(parts) == 1 else "axes are"
        problem.append(
            f"{len(parts)} dynamic {are} not bound: {', '.join(parts[:12])}{', …' if len(parts) > 12 else ''}"
        )
    if shapeless:
        problem.append(f"inputs without a shape: {', '.join(repr(n) for n in shapeless[:12])}")
    wanted = [*loose, *(f"{n}[0]" for n in shapeless)]
    example = ", ".join(f"'{axis}': 1" for axis in wanted[:4]) + (", …" if len(wanted) > 4 else "")
    more = "; for an input without a shape, each of its axes" if shapeless else ""
    raise SpecError(
        "; ".join(problem),
        where=Location(opened.path),
        hint=f"bind them with --dim NAME=N, or in Python dims={{{example}}}{more}",
    )


def _bind_batch(inference: Inference, opened: OnnxFile, inputs: list[Any]) -> None:
    """Where no axis is called ``batch``, that is the first axis of every input whose first axis is dynamic.

    Raises:
        SpecError: if no input's is, and it is another number.
    """
    batch = inference.dims.get("batch")
    if batch is None or "batch" in _axis_names(opened):
        return
    found, fixed = False, set()
    for info in inputs:
        axes = info.type.tensor_type.shape.dim
        if axes and not axes[0].HasField("dim_value"):
            inference.dims.setdefault(axes[0].dim_param or f"{info.name}[0]", batch)
            inference.used_dims.add(axes[0].dim_param or f"{info.name}[0]")
            found = True
        elif axes:
            fixed.add(axes[0].dim_value)
    if found or fixed == {batch}:
        inference.used_dims.add("batch")
    elif fixed:
        raise SpecError(
            f"the first axis of its inputs is {', '.join(map(str, sorted(fixed)))}, not a batch of {batch}",
            where=Location(opened.path),
            hint="export the model with a dynamic batch axis to choose the batch",
        )


def _axis_names(opened: OnnxFile) -> list[str]:
    graph = opened.model.graph
    names: dict[str, None] = {}
    for info in (*graph.input, *graph.output, *graph.value_info):
        for axis, dim in enumerate(info.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                names[dim.dim_param or f"{info.name}[{axis}]"] = None
    return list(names)


def _needed(steps: list[Step], outputs: list[str]) -> tuple[list[Step], Counter[str]]:
    """Steps that outputs depend on, and the others counted by operator."""
    from fiberloom.workload.importers.onnx.graph import needs

    wanted = set(outputs)
    kept: list[Step] = []
    dead: Counter[str] = Counter()
    for step in reversed(steps):
        if any(name in wanted for name in step.outputs if name):
            wanted.update(name for name in needs(step) if name)
            kept.append(step)
        else:
            dead[step.op] += 1
    return kept[::-1], dead


def _counted(ops: Counter[str]) -> str:
    named = ", ".join(f"{op} {count:,}" for op, count in ops.most_common(5))
    total = sum(ops.values())
    return f"{total:,} {'node' if total == 1 else 'nodes'} ({named}{', …' if len(ops) > 5 else ''})"
