"""Shapes of all tensors of an ONNX graph, node by node, and what is known before the network runs.

Each node's outputs come from the ONNX standard's own inference for its operator (`onnx.shape_inference.infer_node_outputs`), asked
once per operator, attributes and input shapes; operators of ONNX Runtime have rules in `onnx_runtime_shapes`. Nodes that compute
on constants and shapes alone are taken out, and an If whose condition is known is replaced by the branch that is taken.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import Location, SpecError
from fiberloom.workload.importers.onnx import onnx_runtime_shapes
from fiberloom.workload.importers.onnx.elements import FLOAT, PLAIN_INTEGERS, element_type
from fiberloom.workload.importers.onnx.file import EXTERNAL, KEPT_ELEMENTS, load_onnx, require_text
from fiberloom.workload.importers.onnx.folding import fold, foldable
from fiberloom.workload.importers.onnx.graph import Step, ordered, steps_of
from fiberloom.workload.importers.onnx.known import Result, Shape, Stored, Value, read_type, written

# Inputs whose values decide about shapes, by operator. source: the ONNX operator schemas.
_SHAPING: Final[Mapping[str, tuple[int, ...]]] = {
    "Reshape": (1,), "Slice": (1, 2, 3, 4), "Expand": (1,), "Tile": (1,), "Pad": (1, 3), "Resize": (1, 2, 3),
    "ConstantOfShape": (0,), "Range": (0, 1, 2), "Squeeze": (1,), "Unsqueeze": (1,), "Split": (1,), "TopK": (1,),
    "OneHot": (1,), "Upsample": (1,), "CenterCropPad": (1,), "AffineGrid": (1,), "Col2Im": (1, 2), "DFT": (1, 2),
    "STFT": (1, 3), "MaxUnpool": (2,), "HannWindow": (0,), "HammingWindow": (0,), "BlackmanWindow": (0,),
    "MelWeightMatrix": (0, 1), "SplitToSequence": (1,), "SequenceAt": (1,), "NonMaxSuppression": (2,),
    **{f"Reduce{what}": (1,) for what in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp",
                                          "SumSquare")},
}  # fmt: skip
_RANDOM: Final = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
# Constants computed from one tensor of the file in these ways can be kept as that tensor.
_ELEMENT_BY_ELEMENT: Final = frozenset(
    {"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast", "CastLike", "DequantizeLinear",
     "QuantizeLinear", "Mul", "Div", "Add", "Sub", "Neg"}
)  # fmt: skip
# Rows of a table that a constant index chooses, or that are repeated, are not computed before the run: the table is what is kept.
_FROM_TABLES: Final = frozenset({"Gather", "GatherElements", "GatherND", "Expand", "Tile"})
_CONTROL_FLOW: Final = frozenset({"If", "Loop", "Scan"})


class Inference:
    """Walks a graph once, in order; afterwards it holds what is known.

    Attributes:
        values: by tensor.
        stored: constants that are kept in the model's file, by tensor (constants computed from them included).
        learned: constants that are, or are computed from, arrays of numbers that are no indices or masks.
        live: steps that remain to be done in every run.
        folded: how many nodes of each operator are computed before any run.
        bodies: what a pass through inner graphs costs (`control_flow.Body`), by step.
    """

    def __init__(
        self,
        file: str,
        model: Any,
        dims: Mapping[str, int],
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.file = file
        self.dims = dict(dims)
        self.values: MutableMapping[str, Value] = {}
        self.stored: MutableMapping[str, Stored] = {}
        self.learned: set[str] = set()
        self.live: list[Step] = []
        self.folded: Counter[str] = Counter()
        self.used_dims: set[str] = set()
        self.newer: set[str] = set()
        self.bodies: dict[str, Any] = {}
        self._opsets = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}
        self._opset_protos = list(model.opset_import)
        self._ir_version = model.ir_version
        self._progress = progress
        self._names: set[str] = set()
        self._schemas: dict[tuple[str, str], Any] = {}
        self._memo: dict[Any, Result] = {}
        self._shared: dict[Any, Value] = {}
        self._types: dict[tuple[int, Shape | None], Any] = {}
        self._declared: dict[str, Any] = {}

    def run(self, graph: Any) -> None:
        """Walk a whole graph whose inputs have values.

        Raises:
            SpecError: if it is not a graph, a node's inputs do not fit its operator, or dims name what it does not have.
        """
        self.declare(graph)
        steps = ordered(steps_of(graph.node, self._names, self.file), self.values, self.file)
        for index, step in enumerate(steps):
            if self._progress is not None and index % 10_000 == 0:
                self._progress(index, len(steps))
            self.take(step)
        if self._progress is not None:
            self._progress(len(steps), len(steps))

    def declare(self, graph: Any, rename: Mapping[str, str] | None = None) -> None:
        """Take a graph's initializers and stated shapes."""
        rename = rename or {}
        for info in graph.value_info:
            self._declared[rename.get(info.name, info.name)] = info.type
        for info in graph.output:
            self._declared.setdefault(rename.get(info.name, info.name), info.type)
        for tensor in graph.initializer:
            self._initializer(rename.get(tensor.name, tensor.name), tensor)
        for sparse in graph.sparse_initializer:
            name, shape = rename.get(sparse.values.name, sparse.values.name), tuple(sparse.dims)
            density = math.prod(sparse.values.dims) / max(1, math.prod(shape))
            self.values[name] = Value(sparse.values.data_type, shape, constant=True)
            self.stored[name] = Stored(name, shape, sparse.values.data_type, density)
            self.learned.add(name)

    def bound(self, name: str, type_proto: Any) -> Value:
        """What is stated about a tensor, with axes bound."""
        tensor = type_proto.tensor_type
        if not type_proto.HasField("tensor_type"):
            return Value(0, None, why=f"'{name}' is a {type_proto.WhichOneof('value') or 'value of no type'}")
        stated = list(tensor.shape.dim) if tensor.HasField("shape") else None
        if stated is None:
            return self._rebound(name, Value(tensor.elem_type, None))
        shape: list[int | None] = []
        for dim in stated:
            if dim.HasField("dim_value"):
                shape.append(dim.dim_value if dim.dim_value >= 0 else None)
            elif dim.dim_param in self.dims:
                self.used_dims.add(dim.dim_param)
                shape.append(self.dims[dim.dim_param])
            else:
                shape.append(None)
        return self._rebound(name, Value(tensor.elem_type, tuple(shape)))

    def _rebound(self, name: str, value: Value) -> Value:
        """Axes that `dims` give as ``name[axis]`` or ``name.axis``."""
        if value.shape is not None:
            if None not in value.shape:
                return value
            return value._replace(
                shape=tuple(self._at_place(name, i) if n is None else n for i, n in enumerate(value.shape))
            )
        given: list[int | None] = []
        while (extent := self._at_place(name, len(given))) is not None:
            given.append(extent)
        return value._replace(shape=tuple(given)) if given else value

    def _at_place(self, name: str, axis: int) -> int | None:
        for key in (f"{name}[{axis}]", f"{name}.{axis}"):
            if key in self.dims:
                self.used_dims.add(key)
                return self.dims[key]
        return None

    def _initializer(self, name: str, tensor: Any) -> None:
        shape = tuple(tensor.dims)
        data = None
        if math.prod(shape) <= KEPT_ELEMENTS and tensor.data_location != EXTERNAL:
            try:
                data = load_onnx(".numpy_helper").to_array(tensor)
            except (ValueError, TypeError, KeyError):
                where = Location(self.file, field=f"initializer '{name}'")
                raise SpecError(
                    f"its values do not fit shape {list(shape)} of type {element_type(tensor.data_type).number_format}",
                    where=where,
                    hint="the file is damaged",
                ) from None
        self.values[name] = Value(tensor.data_type, shape, constant=True, data=data)
        self.stored[name] = Stored(name, shape, tensor.data_type)
        if shape and tensor.data_type not in PLAIN_INTEGERS:
            self.learned.add(name)

    def take(self, step: Step) -> None:
        """Infer one step, and fold it or keep it."""
        missing = [name for name in step.inputs if name and name not in self.values]
        if missing:
            raise SpecError(f"its input '{missing[0]}' is made by no node before it", where=self.at(step))
        if step.op in _CONTROL_FLOW and step.domain == "":
            from fiberloom.workload.importers.onnx.control_flow import take_control_flow

            take_control_flow(self, step)
            return
        given = [self.values[name] if name else None for name in step.inputs]
        constant = all(v is None or v.constant for v in given) and step.op not in _RANDOM
        results = self._constant_node(step) or self._inferred(step, given)
        constant = constant and not self._from_table(step, given)
        data = self._data(step, given, results) if constant or step.op in {"Shape", "Size"} else None
        if constant or data is not None:
            self.folded[step.op] += 1
        else:
            self.live.append(step)
        for index, name in enumerate(step.outputs):
            if not name:
                continue
            element, shape = results[index] if index < len(results) else (0, None)
            if data is not None:
                value = Value(element, data[index].shape, True, data[index])
            else:
                value = self._shared.setdefault((element, shape, constant), Value(element, shape, constant))
                if not value.known:
                    value = self._explained(step, name, value, given)
            self.values[name] = value
            if value.constant and (
                any(n in self.learned for n in step.inputs) or (step.op == "Constant" and value.shape)
            ):
                self.learned.add(name)
            if value.constant and step.domain == "" and index == 0:
                self._keep_as_stored(step, name, value)

    def _from_table(self, step: Step, given: list[Value | None]) -> bool:
        """Whether a step copies rows of something learned."""
        if step.op not in _FROM_TABLES or step.domain or not given or given[0] is None:
            return False
        table = given[0]
        learned = step.inputs[0] in self.stored and table.element not in PLAIN_INTEGERS
        return learned and table.shape is not None and len(table.shape) > 1

    def _constant_node(self, step: Step) -> Result | None:
        """Type and shape of a Constant, whose value may be large and is not copied."""
        if step.op != "Constant" or step.domain:
            return None
        for attribute in step.node.attribute:
            if attribute.HasField("t"):
                return ((attribute.t.data_type, tuple(attribute.t.dims)),)
            if attribute.HasField("sparse_tensor"):
                return ((attribute.sparse_tensor.values.data_type, tuple(attribute.sparse_tensor.dims)),)
        return None

    def _inferred(self, step: Step, given: list[Value | None]) -> Result:
        shaping = _SHAPING.get(step.op, ())
        key = (
            step.domain,
            step.op,
            len(step.outputs),
            tuple(
                None if v is None else (v.element, v.shape, _identity(v.data) if i in shaping else None)
                for i, v in enumerate(given)
            ),
            tuple(a.SerializeToString() for a in step.node.attribute),
        )
        made = self._memo.get(key)
        if made is None:
            made = self._memo[key] = self._asked(step, given, shaping)
        return made

    def _asked(self, step: Step, given: list[Value | None], shaping: tuple[int, ...]) -> Result:
        schema = self._schema(step)
        if schema is None:
            return onnx_runtime_shapes.infer(step, given)
        shape_inference = load_onnx(".shape_inference")
        types = {n: self._type(v) for n, v in zip(step.inputs, given, strict=True) if v is not None}
        data = {}
        for index in shaping:
            value = given[index] if index < len(given) else None
            if value is not None and value.data is not None:
                data[step.inputs[index]] = load_onnx(".numpy_helper").from_array(value.data)
        node = step.node
        if tuple(node.input) != step.inputs or tuple(node.output) != step.outputs:
            node = type(node)()
            node.CopyFrom(step.node)
            del node.input[:], node.output[:]
            node.input.extend(step.inputs)
            node.output.extend(step.outputs)
        self._refuse_impossible(step)
        try:
            # Compiled code that raises types of its own.
            inferred = shape_inference.infer_node_outputs(
                schema, node, types, data, opset_imports=self._opset_protos, ir_version=self._ir_version
            )
        except Exception as error:
            if any(v is not None and v.element == 0 for v in given):
                return tuple((0, None) for _ in step.outputs)
            reason = " ".join(str(error).replace("[ShapeInferenceError]", "").split())
            shapes = ", ".join(f"'{n}' {written(v)}" for n, v in zip(step.inputs, given, strict=True) if v)
            raise SpecError(f"its inputs do not fit: {reason}", where=self.at(step), hint=f"inputs: {shapes}") from None
        made = tuple(read_type(inferred[name]) if name in inferred else (0, None) for name in step.outputs)
        return onnx_runtime_shapes.completed(step, given, made)

    def _refuse_impossible(self, step: Step) -> None:
        """Attributes that the standard forbids and its compiled inference does not survive.

        Raises:
            SpecError: if the node has one.
        """
        if step.op not in {"GatherND", "Split"} or step.domain:
            return
        attributes = step.attributes()
        if attributes.get("batch_dims", 0) < 0:
            raise SpecError(f"batch_dims is {attributes['batch_dims']}", where=self.at(step), hint="it counts from 0")
        parts = attributes.get("num_outputs", len(step.outputs))
        if parts != len(step.outputs):
            raise SpecError(f"num_outputs is {parts}; it has {len(step.outputs)} outputs", where=self.at(step))

    def _schema(self, step: Step) -> Any:
        key = (step.domain, step.op)
        if key not in self._schemas:
            defs = load_onnx(".defs")
            version = self._opsets.get(step.domain, 1 if step.domain else defs.onnx_opset_version())
            if step.domain == "" and version > defs.onnx_opset_version():
                self.newer.add(
                    f"operator set {version} is newer than the installed onnx knows ({defs.onnx_opset_version()})"
                )
            try:
                self._schemas[key] = defs.get_schema(step.op, version, step.domain)
            except defs.SchemaError:
                self._schemas[key] = None
        return self._schemas[key]

    def _type(self, value: Value) -> Any:
        key = (value.element, value.shape)
        if key not in self._types:
            made = load_onnx().TypeProto() if not value.element else None
            self._types[key] = made or load_onnx(".helper").make_tensor_type_proto(value.element, value.shape)
        return self._types[key]

    def _data(self, step: Step, given: list[Value | None], results: Result) -> list[NDArray[Any]] | None:
        if step.domain:
            return None
        if step.op in {"Shape", "Size"} and given and given[0] is not None and given[0].known:
            if step.op == "Size":
                return [np.asarray(given[0].elements, np.int64)]
            attributes = step.attributes()
            return [np.asarray(given[0].extents[attributes.get("start", 0) : attributes.get("end")], np.int64)]
        if step.op == "Constant" and results[0][1] is not None:
            if math.prod(n or 0 for n in results[0][1]) > KEPT_ELEMENTS:
                return None
            for attribute in step.node.attribute:
                if attribute.HasField("t"):
                    return [load_onnx(".numpy_helper").to_array(attribute.t)]
        if not foldable(step.op) or any(v is not None and v.data is None for v in given):
            return None
        attributes = step.attributes()
        if step.op == "Split" and len(step.outputs) > 1 and len(given) == 1 and "split" not in attributes:
            extents = [shape[attributes.get("axis", 0)] for _, shape in results if shape]
            attributes["split"] = extents if None not in extents else None
        made = fold(step.op, [None if v is None else v.data for v in given], attributes)
        return made if made is not None and len(made) >= len(step.outputs) else None

    def _explained(self, step: Step, name: str, value: Value, given: list[Value | None]) -> Value:
        """A value whose shape inference did not find: as the file states it or `dims` give it, or with the reason."""
        if name in self._declared:
            stated = self.bound(name, self._declared[name])
            if stated.shape is not None and (value.shape is None or len(stated.shape) == len(value.shape)):
                mine = value.shape or (None,) * len(stated.shape)
                merged = tuple(a if a is not None else b for a, b in zip(mine, stated.shape, strict=True))
                value = value._replace(shape=merged, element=value.element or stated.element)
        value = self._rebound(name, value)
        if value.known:
            return value
        for other in given:
            if other is not None and other.why:
                return value._replace(why=other.why)
        if value.shape is None:
            return value._replace(why=f"the shape of '{name}', made by {step.title}, is not known")
        axis = value.shape.index(None)
        return value._replace(why=f"extent '{name}[{axis}]', made by {step.title}, depends on the data")

    def _keep_as_stored(self, step: Step, name: str, value: Value) -> None:
        """Remember from which tensor of the file a constant is made, so that its elements are counted once, where they are kept."""
        if step.op == "Constant" and value.known:
            self.stored[name] = Stored(name, value.extents, value.element)
            return
        if step.op not in _ELEMENT_BY_ELEMENT or not value.known:
            return
        sources = [self.stored[i] for i in step.inputs if i in self.stored]
        sources = [s for s in sources if math.prod(s.shape) == value.elements]
        if sources:
            source = sources[0]
            narrow = min((source.element, value.element or FLOAT), key=lambda code: element_type(code).bits)
            turns = (
                step.op == "Transpose" and len(value.extents) == 2 and step.attributes().get("perm", [1, 0]) == [1, 0]
            )
            self.stored[name] = source._replace(element=narrow, turned=source.turned != turns)

    def at(self, step: Step) -> Location:
        """Where a step stands."""
        return Location(self.file, field=step.title)

    def branch(self, graph: Any, step: Step, rename: Mapping[str, str] | None = None) -> tuple[list[Step], list[str]]:
        """Steps of an inner graph and the names of its results, all with names of their own; its initializers are taken.

        Args:
            rename: names of the inner graph's inputs.
        """
        prefix = f"{step.name}/"
        own = [t.name for t in graph.initializer] + [s.values.name for s in graph.sparse_initializer]
        own += [o for node in graph.node for o in node.output if o]
        require_text(own, self.file)
        names = dict(rename or {}) | {name: prefix + name for name in own}
        self.declare(graph, names)
        steps = ordered(steps_of(graph.node, self._names, self.file, names, prefix), self.values, self.file)
        return steps, [names.get(o.name, o.name) for o in graph.output]

    def declared(self, name: str) -> Any:
        """The type that the file states for a tensor, or None."""
        return self._declared.get(name)


def _identity(data: NDArray[Any] | None) -> Any:
    return None if data is None else (data.shape, data.tobytes())
