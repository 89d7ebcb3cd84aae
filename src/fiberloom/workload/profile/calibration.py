"""Running a model on calibration inputs and looking at every tensor that an Einsum reads or writes."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import FiberloomError, Location, MissingExtraError, SpecError, UnsupportedError, nearest
from fiberloom.workload.importers.torch_export import Imported, load_torch
from fiberloom.workload.network import Network, Role
from fiberloom.workload.profile.observing import Observed

Sample = dict[str, NDArray[Any]]

_ATTENTION: Final = "scaled_dot_product_attention"


def read_samples(path: Path, network: Network) -> list[Sample]:
    """Calibration inputs: one array per input of the network, samples along the first axis.

    An array of shape (samples · batch, …) is cut into samples of the network's batch.

    Raises:
        SpecError: if the file is missing or cut off, an input is missing or not the network's, or a shape does not fit.
    """
    where = Location(str(path))
    wanted = {t.name: t.shape for t in network.tensors.values() if t.role is Role.INPUT}
    if not path.is_file():
        raise SpecError("there is no such file", where=where)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # whatever NumPy makes of a broken file
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise SpecError(
            f"not an archive of arrays (.npz): {first}", where=where, hint="numpy.savez writes one"
        ) from None
    missing, extra = [n for n in wanted if n not in arrays], [n for n in arrays if n not in wanted]
    if missing or extra:
        found = f"no array for input '{missing[0]}'" if missing else f"'{extra[0]}' is not an input of {network.name}"
        hint = f"inputs: {', '.join(f'{n} {list(s)}' for n, s in wanted.items())}"
        close = nearest(missing[0], arrays) if missing else nearest(extra[0], wanted)
        raise SpecError(found, where=where, hint=f"{close} {hint}" if close.startswith("did") else hint)
    counts = {name: _samples(name, arrays[name], shape, where) for name, shape in wanted.items()}
    if len(set(counts.values())) != 1:
        raise SpecError(f"inputs have different numbers of samples: {counts}", where=where)
    total = next(iter(counts.values()))
    samples = []
    for i in range(total):
        sample = {}
        for name, shape in wanted.items():
            lead = shape[0] if shape else 1
            sample[name] = arrays[name] if arrays[name].shape == shape else arrays[name][i * lead : (i + 1) * lead]
        samples.append(sample)
    return samples


def _samples(name: str, array: NDArray[Any], shape: tuple[int, ...], where: Location) -> int:
    if array.dtype.kind not in "biufc":
        raise SpecError(f"'{name}' holds values of type {array.dtype}, not numbers", where=where)
    if array.dtype.kind in "fc" and np.isnan(array).any():
        raise SpecError(f"'{name}' holds NaN", where=where)
    if array.shape == shape:
        return 1
    if array.ndim == len(shape) and array.shape[1:] == shape[1:] and array.shape[0] and array.shape[0] % shape[0] == 0:
        return int(array.shape[0]) // shape[0]
    raise SpecError(
        f"'{name}' has shape {list(array.shape)}, the network's input {list(shape)}",
        where=where,
        hint="samples stand along the first axis, a multiple of the network's batch of them",
    )


def measured_tensors(network: Network) -> set[str]:
    """The tensors that Einsums read or write, apart from parameters."""
    names = {name for operator in network.einsums for name in operator.operands.values()}
    return {n for n in names if network.tensors[n].role not in (Role.PARAMETER, Role.CONSTANT)}


def run_torch(imported: Imported, samples: list[Sample], threshold: float) -> dict[str, Observed]:
    """Activations of an exported program.

    Raises:
        SpecError: if the model can't be run on the samples, or an activation is NaN.
    """
    torch = load_torch()
    wanted = measured_tensors(imported.network)
    observed: dict[str, Observed] = {}

    def see(name: str, values: Any) -> None:
        if name in wanted:
            from fiberloom.workload.profile.weights import as_numpy

            observed.setdefault(name, Observed(name, threshold)).add(as_numpy(values))

    class Recorder(torch.fx.Interpreter):  # type: ignore[name-defined,misc]  # torch.fx is untyped
        def run_node(self, node: Any) -> Any:
            result = super().run_node(node)
            name = imported.recorded.get(node.name)
            if name is not None and isinstance(result, torch.Tensor):
                see(name, result)
            if _ATTENTION in str(node.target) and name is not None and f"{name}.softmax" in wanted:
                args, keywords = self.fetch_args_kwargs_from_env(node)
                scores, weights = _attention_weights(torch, node, args, keywords)
                see(f"{name}.scores", scores)
                see(f"{name}.softmax", weights)
            return result

    with torch.no_grad():
        for i, sample in enumerate(samples):
            arguments = [_torch_input(torch, imported, spec, sample) for spec in _placeholders(imported.program)]
            try:
                Recorder(imported.program.graph_module).run(*arguments)
            except FiberloomError:
                raise
            except Exception as error:  # whatever the model raises
                raise _not_run(i, error) from None
    return observed


def _placeholders(program: Any) -> Iterator[tuple[Any, Any]]:
    nodes = [n for n in program.graph.nodes if n.op == "placeholder"]
    return zip(nodes, program.graph_signature.input_specs, strict=True)


def _torch_input(torch: Any, imported: Imported, place: tuple[Any, Any], sample: Sample) -> Any:
    node, spec = place
    state = {**imported.program.state_dict, **imported.program.constants}
    if spec.kind.name != "USER_INPUT":
        value = state.get(spec.target)
        # A run may write into buffers.
        return value.clone() if isinstance(value, torch.Tensor) and spec.kind.name == "BUFFER" else value
    if node.name not in sample:
        return getattr(spec.arg, "value", None)
    given, expected = torch.from_numpy(np.ascontiguousarray(sample[node.name])), node.meta["val"].dtype
    if given.is_floating_point() and not expected.is_floating_point:
        raise SpecError(f"input '{node.name}' takes {expected}, the calibration inputs are {given.dtype}")
    return given.to(expected)


def _attention_weights(torch: Any, node: Any, args: Any, keywords: Any) -> tuple[Any, Any]:
    """Scores before and after the softmax, which the fused operator does not hand out."""
    names = [a.name for a in node.target._schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **keywords}
    query, key, mask = given["query"].float(), given["key"].float(), given.get("attn_mask")
    if key.shape[:-2] != query.shape[:-2]:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    scale = given.get("scale") or 1 / math.sqrt(query.shape[-1])
    scores = query @ key.transpose(-2, -1)
    weights = scores * scale
    if given.get("is_causal"):
        weights = weights.masked_fill(torch.ones(weights.shape[-2:], dtype=torch.bool).tril().logical_not(), -math.inf)
    if mask is not None:
        weights = weights.masked_fill(mask.logical_not(), -math.inf) if mask.dtype == torch.bool else weights + mask
    # A row that is masked as a whole has no weights.
    return scores, torch.softmax(weights, -1).nan_to_num(0.0)


def run_onnx(path: Path, network: Network, samples: list[Sample], threshold: float) -> dict[str, Observed]:
    """Activations of an ONNX file, run by onnxruntime.

    Raises:
        MissingExtraError: if onnx or onnxruntime is not installed.
        SpecError: if the model can't be run on the samples, or an activation is NaN.
    """
    try:
        onnx, runtime = importlib.import_module("onnx"), importlib.import_module("onnxruntime")
    except ImportError:
        raise MissingExtraError("onnxruntime", "onnx", "running calibration inputs through an ONNX file") from None
    model = onnx.load(str(path), load_external_data=False)
    present = {o.name for o in model.graph.output}
    inputs = {i.name for i in model.graph.input}
    made = {name for node in model.graph.node for name in node.output}
    wanted = measured_tensors(network)
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in sorted(wanted & made - present))
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.resolve().parent))
    observed: dict[str, Observed] = {}
    number = 0
    try:
        session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        types = {i.name: i.type for i in session.get_inputs()}
        names = [o.name for o in session.get_outputs() if o.name in wanted]
        for number, sample in enumerate(samples):  # noqa: B007 - the message below says which
            feed = {n: _onnx_input(n, v, types[n]) for n, v in sample.items() if n in types}
            for name, values in zip(names, session.run(names, feed), strict=True):
                if isinstance(values, np.ndarray):
                    observed.setdefault(name, Observed(name, threshold)).add(values)
            for name in wanted & inputs & set(sample):
                observed.setdefault(name, Observed(name, threshold)).add(sample[name])
    except FiberloomError:
        raise
    except Exception as error:  # whatever onnxruntime raises
        raise _not_run(number, error) from None
    return observed


_ONNX_TYPES: Final[Mapping[str, str]] = {"float": "f4", "double": "f8", "float16": "f2", "bool": "?"}


def _onnx_input(name: str, values: NDArray[Any], kind: str) -> NDArray[Any]:
    """`values` in the type that the model takes (``tensor(float)``, ``tensor(int64)``)."""
    inner = kind.removeprefix("tensor(").removesuffix(")")
    try:
        wanted = np.dtype(_ONNX_TYPES.get(inner, inner))
    except TypeError:
        raise UnsupportedError(f"input '{name}' is of type {kind}") from None
    if values.dtype.kind == "f" and wanted.kind in "iub":
        raise SpecError(f"input '{name}' takes {inner}, the calibration inputs are {values.dtype}")
    return values.astype(wanted)


def _not_run(sample: int, error: Exception) -> SpecError:
    first = (str(error).splitlines() or [type(error).__name__])[0][:300]
    return SpecError(f"the model can't be run on calibration sample {sample}: {first}")
