"""PyTorch models through ``torch.export``, without a detour.

Accepted are a ``torch.nn.Module`` with example inputs, an ``ExportedProgram``, a file of one (``.pt2``), and ``module.py:function``
whose function returns a module and its example inputs. The model's own parameters give number formats and densities.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fiberloom.errors import FiberloomError, Location, MissingExtraError, SpecError, UnsupportedError, nearest
from fiberloom.workload.importers.torch_export_extents import Extents
from fiberloom.workload.importers.torch_export_graph import GraphReader, Held
from fiberloom.workload.importers.torch_export_parameters import parameter_tensor, refuse_nan
from fiberloom.workload.importers.torch_export_values import Value, number_format
from fiberloom.workload.network import Network, NetworkTensor, Role


@dataclass(frozen=True)
class Imported:
    """A network and the program that it was read from.

    Attributes:
        program: ``torch.export.ExportedProgram``; calibration runs it.
        recorded: the network's tensor that a node of the program's graph makes.
        state: parameters, buffers and constants by the network's tensor.
    """

    network: Network
    program: Any
    recorded: Mapping[str, str]
    state: Mapping[str, Any]


def read(
    model: Any,
    *,
    dims: Mapping[str, int] | None = None,
    example_inputs: Any = None,
    name: str | None = None,
) -> Network:
    """The network of a PyTorch model.

    Args:
        model: a ``torch.nn.Module``, a ``torch.export.ExportedProgram``, the path of a ``.pt2`` file, or ``module.py:function``
            (``package.module:function``) with a function that returns ``(module, example_inputs)``.
        dims: extents of dynamic axes of an exported program by name: an input's axis (``x.0``), the symbol that PyTorch gave
            it (``s77``), ``batch`` for the first axis of all inputs, ``seq`` for the second axis of token inputs; or arguments of the
            function. Axes that are not given have the extents of the example inputs.
        example_inputs: for a module: a tensor, a tuple of positional arguments, or a mapping of keyword arguments.
        name: of the network.

    Raises:
        MissingExtraError: if PyTorch is not installed.
        UnsupportedError: if the model can't be exported (control flow that depends on data).
        SpecError: for a file that is missing or damaged, dims that there are not, parameters that hold NaN.
    """
    return load(model, dims=dims, example_inputs=example_inputs, name=name).network


def load(
    model: Any,
    *,
    dims: Mapping[str, int] | None = None,
    example_inputs: Any = None,
    name: str | None = None,
) -> Imported:
    """As `read`, with the program itself."""
    torch = load_torch()
    dims = dict(dims or {})
    source = "torch.export"
    if isinstance(model, (str, Path)):
        source = str(model)
        if str(model).endswith(".pt2"):
            model = _opened(torch, Path(model))
        else:
            model, example_inputs, dims = made_by(str(model), dims)
    if isinstance(model, torch.nn.Module):
        name = name or type(model).__name__
        model = _exported(torch, model, example_inputs)
    elif not isinstance(model, torch.export.ExportedProgram):
        raise SpecError(
            f"an object of type {type(model).__name__} is not a PyTorch model",
            hint="give a torch.nn.Module, an ExportedProgram, a .pt2 file, or module.py:function",
        )
    return _imported(torch, model, dims, name or Path(source).stem, source)


def load_torch() -> Any:
    """PyTorch.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        importlib.import_module("torch.export")
        return importlib.import_module("torch")
    except ImportError:
        raise MissingExtraError("torch", "torch", "reading PyTorch models") from None


def _opened(torch: Any, path: Path) -> Any:
    if not path.is_file():
        raise SpecError("there is no such file", where=Location(str(path)))
    try:
        with _quiet():
            return torch.export.load(str(path))
    except Exception as error:  # whatever PyTorch makes of a damaged file
        raise SpecError(
            f"not an exported program, or a damaged one: {_first_line(error)}",
            where=Location(str(path)),
            hint="torch.export.save(torch.export.export(module, inputs), 'x.pt2') writes one; a truncated download does not open",
        ) from None


def made_by(model: str, dims: dict[str, int]) -> tuple[Any, Any, dict[str, int]]:
    """What ``module.py:function`` returns, a module or program and example inputs, and the dims that are not its own arguments.

    Raises:
        SpecError: if there is no such function, it raises, or returns something else.
        MissingExtraError: if PyTorch is not installed.
    """
    torch = load_torch()
    place, _, function_name = model.rpartition(":")
    function = named_function(place, function_name)
    own = inspect.signature(function).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
        for dim in dims:
            if dim not in own:
                hint = nearest(dim, own) if own else "it takes no arguments"
                raise SpecError(f"{model} takes no '{dim}'", hint=hint)
    try:
        returned = function(**dims)
    except FiberloomError:
        raise
    except (Exception, SystemExit) as error:  # the user's own code
        raise SpecError(f"{model} raised {type(error).__name__}: {_first_line(error)}") from None
    if isinstance(returned, (torch.nn.Module, torch.export.ExportedProgram)):
        returned = (returned, None)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise SpecError(
            f"{model} returned an object of type {type(returned).__name__}",
            hint="return (module, example_inputs); example inputs are a tuple of tensors, or a dict of keyword arguments",
        )
    return returned[0], returned[1], {}


def named_function(place: str, name: str) -> Callable[..., Any]:
    """The function `name` of a file (``module.py``) or module (``package.module``).

    Raises:
        SpecError: if there is none, or importing it raises.
    """
    try:
        if place.endswith(".py"):
            path = Path(place)
            if not path.is_file():
                raise SpecError("there is no such file", where=Location(place))
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.path.insert(0, str(path.parent.resolve()))
            try:
                spec.loader.exec_module(module)
            finally:
                sys.path.pop(0)
        else:
            module = importlib.import_module(place)
    except SpecError:
        raise
    except (Exception, SystemExit) as error:  # the user's own code
        raise SpecError(
            f"importing it raised {type(error).__name__}: {_first_line(error)}", where=Location(place)
        ) from None
    function = getattr(module, name, None)
    if not callable(function):
        known = [n for n, v in vars(module).items() if inspect.isfunction(v)]
        raise SpecError(f"there is no function '{name}'", where=Location(place), hint=nearest(name, known))
    return function  # type: ignore[no-any-return]  # whatever the user's module holds


def _exported(torch: Any, module: Any, example_inputs: Any) -> Any:
    if example_inputs is None:
        raise SpecError(
            "a module needs example inputs",
            hint="example_inputs=(torch.randn(1, 3, 224, 224),): their shapes are the network's",
        )
    positional, keywords = (), {}
    if isinstance(example_inputs, Mapping):
        keywords = dict(example_inputs)
    else:
        positional = tuple(example_inputs) if isinstance(example_inputs, (tuple, list)) else (example_inputs,)
    # As in inference; the caller's module is left as it was.
    training = [m for m in module.modules() if m.training]
    module.eval()
    try:
        with _quiet():
            return torch.export.export(module, positional, keywords, strict=False)
    except Exception as error:  # whatever the module or the exporter raises
        raise _not_exportable(error) from None
    finally:
        for part in training:
            part.training = True


def _not_exportable(error: Exception) -> FiberloomError:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = _first_line(error)
    if kinds & {"GuardOnDataDependentSymNode", "UserError", "UncapturedHigherOrderOpError"} or "data-dependent" in str(
        error
    ):
        return UnsupportedError(
            f"torch.export can't follow the model, because its control flow depends on data: {text}",
            hint="export the part of one path, or write the choice as torch.where; a network has one fixed graph",
        )
    if "not a known type" in str(error):
        hint = "return tensors only; for a model of transformers: model.config.use_cache = False"
        return UnsupportedError(f"torch.export does not know what the model returns: {text}", hint=hint)
    return SpecError(
        f"torch.export can't export the model: {type(error).__name__}: {text}",
        hint="run module(*example_inputs) first: the shapes and types of the example inputs have to fit",
    )


def _imported(torch: Any, program: Any, dims: dict[str, int], name: str, source: str) -> Imported:
    kinds = torch.export.graph_signature.InputKind
    signature = program.graph_signature
    state = {**program.state_dict, **program.constants}
    parameters = {s.target: state[s.target] for s in signature.input_specs if s.kind is kinds.PARAMETER}
    with torch.no_grad():
        refuse_nan(parameters)
        placeholders = [n for n in program.graph.nodes if n.op == "placeholder"]
        inputs = {
            node.name: node.meta["val"]
            for node, spec in zip(placeholders, signature.input_specs, strict=True)
            if spec.kind is kinds.USER_INPUT and hasattr(node.meta.get("val"), "shape")
        }
        extents = Extents(inputs, dims, program.range_constraints)
        reader = GraphReader(extents)
        arguments, kept, own = [], set(signature.buffers_to_mutate.values()), {}
        seen: dict[int, Value] = {}
        for node, spec in zip(placeholders, signature.input_specs, strict=True):
            held: Held = None
            if spec.kind is kinds.USER_INPUT:
                if node.name in inputs:
                    written, bits = number_format(inputs[node.name].dtype)
                    shape = tuple(extents(s) for s in inputs[node.name].shape)
                    held = reader.add(NetworkTensor(node.name, shape, Role.INPUT, written, bits))
            elif spec.target in state and hasattr(state[spec.target], "dtype"):
                value = state[spec.target]
                held = seen.get(id(value))
                if held is None:
                    learned, changed = spec.kind is kinds.PARAMETER, spec.target in kept
                    role = Role.PARAMETER if learned else Role.STATE if changed else Role.CONSTANT
                    held = reader.add(parameter_tensor(spec.target, value, role), parameter=not changed)
                    seen[id(value)] = held
                    own[held.name] = value
            arguments.append(held)
        outputs = reader.walk(program.graph_module, arguments)
    tensors = dict(reader.tensors)
    for spec, made in zip(signature.output_specs, outputs, strict=False):
        if spec.kind.name == "USER_OUTPUT" and isinstance(made, Value) and tensors[made.name].role is Role.ACTIVATION:
            tensors[made.name] = replace(tensors[made.name], role=Role.OUTPUT)
    for operator in reader.operators:
        weight = operator.operands.get("W", "")
        if weight in own and tensors[weight].role is Role.CONSTANT:  # quantised weights are kept as buffers
            tensors[weight] = parameter_tensor(weight, own[weight], Role.PARAMETER)
    network = Network(name, tuple(reader.operators), tensors, source, extents.notes())
    return Imported(network, program, reader.recorded, own)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch's warnings and logs are about its own parts, not about the model."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                yield
    finally:
        logging.disable(before)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__)[:300]
