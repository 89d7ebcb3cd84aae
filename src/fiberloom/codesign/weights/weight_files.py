"""Networks with the values of their weights, from files and modules."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.codesign.weights.network_weights import LayerWeights, MatrixView, NetworkWeights, network_weights
from fiberloom.errors import Location, SpecError
from fiberloom.representation.array import checked_axis
from fiberloom.representation.tensor_file import SUFFIXES, read_tensor, tensor_names
from fiberloom.workload.layers import fully_connected
from fiberloom.workload.network import Kind, Network, NetworkTensor, Operator, Role

ROWS: Final = 512
"""Rows of activations that a tensor without a network is multiplied by, unless said otherwise: our choice, a short prompt."""

_LOOKED_UP: Final = re.compile(r"embed|position|wte|wpe|lookup|token_type")
"""Parts of names of tensors whose rows are looked up, not multiplied."""
_FUNCTION: Final = re.compile(r".+:[A-Za-z_]\w*")
_PREFIXES: Final = ("", "module.", "model.", "_orig_mod.")
"""What wrappers (DataParallel, Hugging Face, torch.compile) put before the names of a checkpoint."""


def read_network_weights(
    model: str,
    *,
    rows: int | None = None,
    axis: int | None = None,
    dims: Mapping[str, int] | None = None,
    weights: str | Path | None = None,
    random_weights: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NetworkWeights:
    """A model, or a tensor on its own, with the values of its weights.

    Args:
        model: a tensor (``w.npy``, ``x.npz:name``, ``x.safetensors:name``), a file of tensors (all matrices of it), an ONNX file,
            an exported program (``.pt2``), ``module.py:function``, or a network without values (of the zoo, ``config.json``).
        rows: of activations that meet a tensor of a file; None: `ROWS`. A network says itself.
        axis: of a tensor on its own, what products sum over; None: the last one of a matrix, the channels (axis 1) of a
            convolution's weights.
        dims: extents of a network's dynamic axes.
        weights: a file with the values of a network that has none.
        random_weights: seed of Gaussian weights for a network that has none.

    Raises:
        SpecError: for what is no model, has no values, or holds NaN.
        MissingExtraError: if its format needs a package that is not installed.
    """
    if rows is not None and rows < 1:
        raise SpecError(f"{rows} rows of activations", hint="a whole number from 1")
    if _is_tensor_file(model):
        if weights is not None or random_weights is not None or dims:
            raise SpecError("weights and extents of axes are for networks", hint=f"{model} holds its own")
        return _from_tensors(model, rows or ROWS, axis)
    for option, value in (("rows", rows), ("an axis", axis)):
        if value is not None:
            raise SpecError(
                f"{option} given for a network", hint="they are for tensors; a network has its own (--dim batch=8)"
            )
    if model.endswith(".pt2") or _FUNCTION.fullmatch(model):
        return _from_torch(model, dims)
    from fiberloom.workload.importers import read_network

    network = read_network(model, dims=dims, progress=progress)
    if model.endswith(".onnx") and weights is None and random_weights is None:
        from fiberloom.workload.importers.onnx import tensor_values

        return network_weights(network, lambda name: next(tensor_values(model, [name]))[1])
    if weights is not None:
        return _from_file(network, Path(weights))
    if random_weights is None:
        raise SpecError(
            f"'{model}' says what is computed, and has no weights",
            hint="give their file with --weights, or ask for random ones with --random-weights SEED",
        )
    note = f"the weights are random: Gaussian, standard deviation 1/√in, seed {random_weights}"
    return network_weights(network, partial(_random, network, random_weights), notes=(note,))


def network_of_tensors(tensors: Mapping[str, tuple[int, int]], rows: int, name: str) -> Network:
    """A network of products of matrices with `rows` activations each.

    Args:
        tensors: name → ``(out, in)``.
    """
    made: dict[str, NetworkTensor] = {}
    operators = []
    for tensor, (outputs, inputs) in tensors.items():
        einsum = fully_connected(tensor, outputs=outputs, inputs=inputs, batch=rows)
        data, result = f"{tensor}.inputs", f"{tensor}.outputs"
        made[tensor] = NetworkTensor(tensor, (outputs, inputs), Role.PARAMETER)
        made[data] = NetworkTensor(data, (rows, inputs), Role.INPUT)
        made[result] = NetworkTensor(result, (rows, outputs), Role.OUTPUT)
        operands = {"W": tensor, "I": data, "O": result}
        operators.append(
            Operator(tensor, "product", Kind.EINSUM, (tensor, data), (result,), einsum=einsum, operands=operands)
        )
    return Network(name, tuple(operators), made, source=name)


def _is_tensor_file(model: str) -> bool:
    """Whether `model` is a file of tensors, or one tensor of it."""
    return model.endswith(SUFFIXES) or any(f"{suffix}:" in model for suffix in SUFFIXES)


def _from_tensors(model: str, rows: int, axis: int | None) -> NetworkWeights:
    several = [] if any(f"{suffix}:" in model for suffix in SUFFIXES) else tensor_names(model)
    if len(several) > 1 and axis is not None:
        raise SpecError("an axis is for one tensor", where=Location(model), hint=f"name one: {model}:{several[0]}")
    sources = {name: f"{model}:{name}" for name in several} or {_name(model): model}
    views: dict[str, MatrixView] = {}
    left_out: dict[str, str] = {}
    for name, source in sources.items():
        shape = _read(source, name).shape  # read again when it is needed, so that a large model need not be held
        if len(several) > 1 and len(shape) < 2:
            continue
        if len(several) > 1 and _LOOKED_UP.search(name.lower()):
            left_out[name] = "by its name a table whose rows are looked up"
        else:
            views[name] = _view(shape, axis, name)
    if not views:
        raise SpecError("it holds no matrices that are multiplied", where=Location(model), hint="weights have two axes")
    name = next(iter(views)) if len(several) < 2 else Path(model).stem
    network = network_of_tensors({name: view.shape for name, view in views.items()}, rows, name)
    layers = [LayerWeights(name, view, (name,), partial(read_tensor, sources[name])) for name, view in views.items()]
    return NetworkWeights(network, tuple(layers), left_out, (f"every tensor meets {rows} rows of activations",))


def _read(source: str, name: str) -> NDArray[Any]:
    try:
        return read_tensor(source)
    except SpecError as error:
        if not source.endswith(f":{name}") or name in error.problem:
            raise
        raise SpecError(f"'{name}': {error.problem}", where=error.where, hint=error.hint) from None


def _name(model: str) -> str:
    """Of the tensor that `model` names: what follows the file's ending, or the file's own name."""
    for suffix in SUFFIXES:
        if f"{suffix}:" in model:
            return model.split(f"{suffix}:", 1)[1] or Path(model).stem
    return Path(model).stem


def _view(shape: tuple[int, ...], axis: int | None, name: str) -> MatrixView:
    """A tensor on its own as a matrix: summed over `axis`, or as a convolution's weights (out, in, kernel …) are."""
    if len(shape) < 2:
        raise SpecError(
            f"'{name}' has the shape {shape}: there is no matrix to represent",
            hint="weights have two axes or more: (out, in), or (out, in, kernel …)",
        )
    axes = list(range(len(shape)))
    if axis is not None:
        summed = checked_axis(shape, axis)
        order = [*(a for a in axes if a != summed), summed]
        rows = math.prod(shape) // shape[summed]
    else:
        order = [0, *axes[2:], 1]  # channels innermost
        rows = shape[0]
    return MatrixView(shape, shape, tuple(order), rows)


def module_weights(module: Any, example_inputs: Any, dims: Mapping[str, int] | None = None) -> NetworkWeights:
    """The weights of a PyTorch module, which stays as it is.

    Args:
        example_inputs, dims: as `fiberloom.workload.importers.torch_export.read`: their shapes are the network's.

    Raises:
        MissingExtraError: without PyTorch.
        UnsupportedError, SpecError: if the module can't be exported, or has no weights that a product multiplies.
    """
    from fiberloom.workload.importers.torch_export import load, load_torch
    from fiberloom.workload.profile.weights import as_numpy

    torch = load_torch()
    imported = load(module, dims=dims, example_inputs=example_inputs)
    own = module if isinstance(module, torch.nn.Module) else None
    return network_weights(imported.network, lambda name: as_numpy(imported.state[name]), module=own)


def _from_torch(model: str, dims: Mapping[str, int] | None) -> NetworkWeights:
    from fiberloom.workload.importers.torch_export import made_by

    if model.endswith(".pt2"):
        return module_weights(model, None, dims)
    module, example_inputs, rest = made_by(model, dict(dims or {}))
    return module_weights(module, example_inputs, rest)


def _from_file(network: Network, path: Path) -> NetworkWeights:
    from fiberloom.workload.importers.onnx import tensor_values

    onnx = path.suffix == ".onnx"
    held = {name for name, _ in tensor_values(path)} if onnx else set(tensor_names(path))
    wanted = [name for name, tensor in network.tensors.items() if tensor.role is Role.PARAMETER]
    spelled = {}
    for name in wanted:
        known = [name.removeprefix(p) for p in _PREFIXES] + [p + name for p in _PREFIXES]
        match = next((n for n in known if n in held), None)
        if match is not None:
            spelled[name] = match
    if not spelled:
        raise SpecError(
            f"none of its {len(held)} tensors is a parameter of {network.name}",
            where=Location(str(path)),
            hint=f"the network has '{(wanted or ['…'])[0]}', …; the file has '{(sorted(held) or ['…'])[0]}', …",
        )

    def read(name: str) -> Any:
        return next(tensor_values(path, [spelled[name]]))[1] if onnx else read_tensor(f"{path}:{spelled[name]}")

    made = network_weights(network, read)
    missing = [layer.name for layer in made.layers if layer.name not in spelled]
    kept = tuple(layer for layer in made.layers if layer.name in spelled)
    return replace(
        made, layers=kept, left_out={**made.left_out, **dict.fromkeys(missing, f"{path.name} has no values")}
    )


def _random(network: Network, seed: int, name: str) -> NDArray[np.float32]:
    """Gaussian weights that keep the variance of activations about (LeCun et al., Efficient BackProp, 1998, §4.6)."""
    shape = network.tensors[name].shape
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    values = generator.standard_normal(shape, dtype=np.float32)
    values *= np.float32(1 / math.sqrt(max(1, math.prod(shape) // max(shape[0], 1))))
    return values
