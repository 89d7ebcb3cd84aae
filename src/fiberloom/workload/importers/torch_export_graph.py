"""Walking the graph of an exported program: every call becomes operators on named tensors."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from fiberloom.errors import FiberloomError, SpecError, UnsupportedError
from fiberloom.workload.importers.torch_export_contractions import CONTRACTIONS
from fiberloom.workload.importers.torch_export_kinds import other_operator
from fiberloom.workload.importers.torch_export_recurrent import RECURRENT
from fiberloom.workload.importers.torch_export_values import Call, Value, number_format
from fiberloom.workload.importers.torch_export_views import RepeatedHeads, same_tensor
from fiberloom.workload.network import Kind, NetworkTensor, Operator, Role

_WRAPPERS: Final = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4, "wrap": 0}
"""Calls that run a part of the graph as it is, by the place of that part among their arguments."""

_CONTROL_FLOW: Final = frozenset({"cond", "while_loop", "scan", "map_impl", "map", "associative_scan", "switch"})

Held = Value | list[Value | None] | None


class GraphReader:
    """Collects the operators and tensors of a program's graph.

    Args:
        extents: the number that a symbolic extent stands for.
    """

    def __init__(self, extents: Callable[[Any], int]) -> None:
        self.operators: list[Operator] = []
        self.tensors: dict[str, NetworkTensor] = {}
        self.recorded: dict[str, str] = {}
        """The network's tensor that a node of the outermost graph makes."""
        self._extents = extents
        self._heads = RepeatedHeads()
        self._used: dict[str, int] = {}
        self._depth = 0

    def add(self, tensor: NetworkTensor, *, parameter: bool = False) -> Value:
        """A tensor that no call makes."""
        name = tensor.name if tensor.name not in self.tensors else self._unused(tensor.name)
        self.tensors[name] = replace(tensor, name=name)
        return Value(name, tensor.shape, parameter)

    def walk(self, graph_module: Any, arguments: list[Held]) -> list[Held]:
        """Read a graph whose placeholders stand for `arguments`; returns what it puts out.

        Raises:
            SpecError: for extents that depend on data.
        """
        held: dict[Any, Held] = {}
        given = iter(arguments)
        outputs: list[Held] = []
        for node in graph_module.graph.nodes:
            if node.op == "placeholder":
                held[node] = next(given, None)
            elif node.op == "get_attr":
                held[node] = self._attribute(graph_module, node)
            elif node.op == "call_function":
                held[node] = self._call(graph_module, node, held)
            elif node.op == "output":
                outputs = [held.get(n) if _is_node(n) else None for n in _flat(node.args[0])]
            value = held.get(node)
            if isinstance(value, Value) and not self._depth:
                self.recorded[node.name] = value.name
        return outputs

    def _attribute(self, graph_module: Any, node: Any) -> Held:
        value = graph_module
        for part in str(node.target).split("."):
            value = getattr(value, part, None)
        if value is None or not hasattr(value, "dtype"):
            return None
        written, bits = number_format(value.dtype)
        return self.add(
            NetworkTensor(str(node.target), tuple(int(s) for s in value.shape), Role.CONSTANT, written, bits),
            parameter=True,
        )

    def _call(self, graph_module: Any, node: Any, held: Mapping[Any, Held]) -> Held:
        if node.target is operator.getitem:
            several = held.get(node.args[0])
            index = node.args[1]
            return several[index] if isinstance(several, list) and isinstance(index, int) else None
        name = getattr(node.target, "__name__", str(node.target)) if _schema(node) is None else ""
        if name in _WRAPPERS:
            return self._inside(graph_module, node, held, _WRAPPERS[name])
        made = node.meta.get("val")
        if not any(_is_tensor(t) for t in _flat(made)):
            return None  # checks and extents
        return self._operator(node, held, made, name)

    def _inside(self, graph_module: Any, node: Any, held: Mapping[Any, Held], place: int) -> Held:
        part = node.args[place]
        self._depth += 1
        outputs = self.walk(
            getattr(graph_module, str(part.target)),
            [held.get(a) if _is_node(a) else None for a in node.args[place + 1 :]],
        )
        self._depth -= 1
        return [o if isinstance(o, Value) else None for o in outputs]

    def _operator(self, node: Any, held: Mapping[Any, Held], made: Any, higher: str) -> Held:
        schema = _schema(node)
        base = schema.name.split("::")[-1] if schema is not None else higher
        base = base if base.endswith("__") else base.rstrip("_")
        arguments = _arguments(node, schema, held)
        inputs = [v for a in arguments.values() for v in _flat(a) if isinstance(v, Value)]
        fakes = list(made) if isinstance(made, (list, tuple)) else [made]
        if inputs and len(fakes) == 1:
            shape = self._shape(node, fakes[0])
            before = self.tensors[inputs[0].name]
            converted = number_format(fakes[0].dtype)[0] != before.number_format
            same = same_tensor(base, inputs[0], Value("", shape), arguments, converted=converted)
            if same is not None:
                return same
        name = self._named(node, base)
        outputs = self._outputs(node, name, fakes)
        values = [v for v in outputs if v is not None]
        if inputs and len(values) == 1:
            self._heads.see(base, inputs[0], values[0], arguments)
        call = Call(
            name, str(node.target) if schema is not None else higher, base, arguments, tuple(values), {},
            {n: (t.number_format, t.bits) for n, t in self.tensors.items() if any(n == v.name for v in inputs)},
            self._heads.found, frozenset(str(t).split(".")[-1] for t in getattr(node.target, "tags", ())), _is_view(schema),
        )  # fmt: skip
        self.operators += _operators(call, inputs)
        self.tensors |= call.scratch
        return outputs if isinstance(made, (list, tuple)) else outputs[0]

    def _outputs(self, node: Any, name: str, fakes: list[Any]) -> list[Value | None]:
        """A tensor per output that is used (the first always), in the network's table."""
        used = {u.args[1] for u in node.users if u.target is operator.getitem}
        values: list[Value | None] = []
        for i, fake in enumerate(fakes):
            if not _is_tensor(fake) or (i and i not in used):
                values.append(None)
                continue
            shape = self._shape(node, fake)
            written, bits = number_format(fake.dtype)
            own = name if i == 0 else self._unused(f"{name}.output{i}")
            self.tensors[own] = NetworkTensor(own, shape, Role.ACTIVATION, written, bits)
            values.append(Value(own, shape))
        return values

    def _shape(self, node: Any, fake: Any) -> tuple[int, ...]:
        try:
            return tuple(self._extents(s) for s in fake.shape)
        except SpecError as error:
            raise UnsupportedError(
                f"the shape of '{node.name}' depends on data: {error.problem}", hint=error.hint
            ) from None

    def _named(self, node: Any, base: str) -> str:
        """The module's path, and the operator in modules that do several things; numbered when it comes again."""
        stack = node.meta.get("nn_module_stack") or {}
        path = str(next(reversed(stack.values()))[0]) if stack else ""
        path = path.removeprefix("L['self'].").removeprefix("L['self']")
        kind = str(next(reversed(stack.values()))[1]) if stack else ""
        leaf = kind.startswith("torch.nn.modules.") and kind.split(".")[-1] not in ("Module", "MultiheadAttention")
        name = path if leaf and path else f"{path}.{base}" if path else base
        return self._unused(name)

    def _unused(self, name: str) -> str:
        """`name`, or with the first free number."""
        if name not in self.tensors and name not in self._used:
            self._used[name] = 1
            return name
        number = self._used.get(name, 1) + 1
        while f"{name}.{number}" in self.tensors:
            number += 1
        self._used[name] = number
        return f"{name}.{number}"


def _operators(call: Call, inputs: list[Value]) -> list[Operator]:
    """The operators of a call; what is not understood says why."""
    handler = CONTRACTIONS.get(call.base) or RECURRENT.get(call.base)
    try:
        if handler is not None:
            return handler(call)
        found = other_operator(call)
        why = "PyTorch's operator is not known to fiberloom"
        if call.base in _CONTROL_FLOW:
            why = "control flow: what runs, and how often, depends on data"
    except FiberloomError as error:
        found, why = None, error.problem
    except Exception as error:  # arguments of a kind that no model so far had
        found, why = None, f"its arguments can't be read ({type(error).__name__}: {error})"
    if found is not None:
        return [found]
    call.scratch.clear()
    return [call.step(Kind.UNKNOWN, inputs=tuple(inputs), note=why)]


def _schema(node: Any) -> Any:
    return getattr(node.target, "_schema", None)


def _is_view(schema: Any) -> bool:
    return schema is not None and any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)


def _is_node(value: Any) -> bool:
    return hasattr(value, "op") and hasattr(value, "users")


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [v for part in value for v in _flat(part)]
    return [value]


def _arguments(node: Any, schema: Any, held: Mapping[Any, Held]) -> dict[str, Any]:
    """Arguments by the schema's names with its defaults; tensors as `Value`."""

    def resolved(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [resolved(v) for v in value]
        return held.get(value) if _is_node(value) else value

    if schema is None:
        return {str(i): resolved(a) for i, a in enumerate(node.args)}
    names = [a.name for a in schema.arguments]
    given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    defaults = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    return {n: resolved(given.get(n, defaults.get(n))) for n in names}
