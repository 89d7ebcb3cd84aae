"""Making a sparsity profile of a model: from its weights, and from runs on calibration inputs."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError, UnsupportedError, nearest
from fiberloom.workload.density._storage_order import same_order
from fiberloom.workload.network import Network, Role
from fiberloom.workload.profile.calibration import measured_tensors, read_samples, run_onnx, run_torch
from fiberloom.workload.profile.document import DensitySpec, SparsityProfile, TensorProfile, einsum_shapes
from fiberloom.workload.profile.fitting import Fit, fit
from fiberloom.workload.profile.observing import Observed, binned, channel_axis, channel_shares, magnitude_above
from fiberloom.workload.profile.weights import Weights, as_numpy, read_weights, refuse_nan

DENSITIES: Final = ("fitted", "actual", "auto")

LARGEST_MISFIT: Final = 0.05
"""With ``auto``: above this misfit a tensor's own non-zeros are kept. A choice: inside the 0.1 to 8 % by which models of sparse
accelerators are off anyway (Sparseloop, MICRO'22, abstract)."""

_PREFIXES: Final = ("", "module.", "model.", "_orig_mod.")
"""What wrappers (DataParallel, Hugging Face, torch.compile) put before the names of a checkpoint."""


def make_profile(
    model: Any,
    *,
    dims: Mapping[str, int] | None = None,
    example_inputs: Any = None,
    weights: Path | None = None,
    calibration: Path | None = None,
    threshold: float = 0.0,
    activation_threshold: float = 0.0,
    densities: str = "fitted",
    values_file: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[SparsityProfile, Network | None]:
    """Measure a model's densities.

    Args:
        model: whatever `fiberloom.workload.importers.read_network` takes, a ``torch.nn.Module``, an ``ExportedProgram``, or a file of
            weights alone.
        dims: extents of dynamic axes.
        example_inputs: for a module.
        weights: a file of weights to take instead of the model's own.
        calibration: a ``.npz`` file with one array per input, samples along the first axis.
        threshold: weights of magnitude up to this count as zero.
        activation_threshold: the same for activations.
        densities: ``fitted`` takes the model of least misfit, ``actual`` the weights themselves, ``auto`` the weights themselves where
            the misfit is above `LARGEST_MISFIT`.
        values_file: an ``.npz`` file to write for ``actual``, where a tensor's own file can't serve.
        progress: told what is being done.

    Returns:
        The profile, and the network unless `model` is a file of weights alone.

    Raises:
        SpecError: for NaN, damaged files, calibration inputs that do not fit, weights of another model.
        MissingExtraError: if a package is not installed.
    """
    if densities not in DENSITIES:
        raise SpecError(f"'{densities}' is not a choice of densities", hint=nearest(densities, DENSITIES))
    if not (threshold >= 0 and activation_threshold >= 0):
        raise SpecError("a threshold is a magnitude, from 0")
    progress("reading the model")
    network, imported = _read(model, dims, example_inputs, progress)
    chosen = _Densities(densities, network, values_file)
    notes: list[str] = []
    tensors: dict[str, TensorProfile] = {}
    for name, found in _named(network, _weights(model, imported, weights), notes):
        progress(name)
        tensors[name] = _parameter(name, found, threshold, chosen)
    if threshold:
        notes.append(f"weights of magnitude up to {threshold:g} count as zero")
    if calibration is not None:
        if network is None:
            raise UnsupportedError(
                "a file of weights has nothing to run calibration inputs through", hint="give the model"
            )
        samples = read_samples(calibration, network)
        progress(f"running {len(samples)} calibration samples")
        for name, seen in _activations(model, imported, network, samples, activation_threshold).items():
            role = network.tensors[name].role
            tensors[name] = seen.profile(str(role))
        notes.append(f"activations over {len(samples)} samples of {calibration.name}")
        unseen = sorted(measured_tensors(network) - set(tensors))
        if unseen:
            notes.append(f"not measured, and dense: {', '.join(unseen[:8])}{', …' if len(unseen) > 8 else ''}")
    if not tensors:
        raise SpecError(
            "nothing to measure: the model has no weights of its own",
            hint="give --weights (a safetensors file, a state dict) or --calibration, or state densities in a YAML",
        )
    chosen.write()
    source = network.name if network is not None else str(model)
    directory = values_file.resolve().parent if values_file is not None else None
    return SparsityProfile(tensors, source, tuple(notes), directory), network


def _read(
    model: Any, dims: Mapping[str, int] | None, example_inputs: Any, progress: Callable[[str], None]
) -> tuple[Network | None, Any]:
    from fiberloom.workload.importers import read_network
    from fiberloom.workload.importers.torch_export import load

    text = str(model) if isinstance(model, (str, Path)) else ""
    if not text or text.endswith(".pt2") or ":" in text:
        imported = load(model, dims=dims, example_inputs=example_inputs)
        return imported.network, imported
    if text.endswith((".safetensors", ".npz", ".pt", ".pth", ".bin", ".index.json")):
        return None, None

    def listen(done: int, whole: int) -> None:
        progress(f"reading the model: {done:,} of {whole:,} operators")

    return read_network(text, dims=dims, progress=listen), None


def _weights(model: Any, imported: Any, weights: Path | None) -> Iterator[Weights]:
    if weights is not None:
        yield from read_weights(weights)
    elif imported is not None:
        for name, value in imported.state.items():
            if value.device.type != "meta":
                values = as_numpy(value)
                refuse_nan(name, values)
                yield Weights(name, values)
    elif str(model).endswith((".onnx", ".safetensors", ".npz", ".pt", ".pth", ".bin", ".index.json")):
        yield from read_weights(Path(str(model)))


def _named(network: Network | None, found: Iterator[Weights], notes: list[str]) -> Iterator[tuple[str, Weights]]:
    """Weights that are parameters of the network, under the network's names.

    Raises:
        SpecError: if none is, or one has another shape.
    """
    if network is None:
        yield from ((w.name, w) for w in found if w.values.ndim > 1 and w.values.dtype.kind in "fiu")
        return
    read = {name for operator in network.einsums for name in operator.operands.values()}
    wanted = {t.name: t for t in network.tensors.values() if t.role is Role.PARAMETER}
    names, others = set(), []
    for weights in found:
        bare = [weights.name.removeprefix(p) for p in _PREFIXES] + [p + weights.name for p in _PREFIXES]
        name = next((n for n in bare if n in wanted), None)
        if name is None:
            others.append(weights.name)
            continue
        if weights.values.shape != wanted[name].shape:
            raise SpecError(
                f"'{weights.name}' has shape {list(weights.values.shape)} in the file of weights and "
                f"{list(wanted[name].shape)} in {network.name}",
                hint="are they weights of this model?",
            )
        names.add(name)
        if weights.values.ndim > 1 or name in read:  # biases and the like are not filtered by anything
            yield name, weights
    if not names and others and wanted:
        raise SpecError(
            f"none of the {len(others)} tensors in the file of weights is a parameter of {network.name}",
            hint=f"the file has '{others[0]}', …; the network has '{next(iter(wanted))}', …",
        )
    left = [n for n in wanted if n not in names]
    if left and names:
        notes.append(
            f"no weights for {len(left)} parameters, which stay dense: {', '.join(left[:6])}{', …' if len(left) > 6 else ''}"
        )


def _parameter(name: str, weights: Weights, threshold: float, chosen: _Densities) -> TensorProfile:
    nonzero = magnitude_above(weights.values, threshold)
    fitted = fit(nonzero)
    density, model, note = chosen.choose(name, weights, nonzero, fitted, stored=threshold == 0)
    if fitted.model == "dense":
        return TensorProfile(None, str(Role.PARAMETER), nonzero.shape, 1.0, model="dense")
    channels = channel_shares(nonzero, channel_axis(nonzero.shape, parameter=True))
    return TensorProfile(
        density,
        str(Role.PARAMETER),
        nonzero.shape,
        int(np.count_nonzero(nonzero)) / max(1, nonzero.size),
        model=model,
        misfit=fitted.misfit if model == fitted.model else 0.0,
        tiles=fitted.tiles,
        channels=binned(channels),
        empty_channels=int(np.count_nonzero(channels == 0)),
        note=note,
    )


def _activations(
    model: Any, imported: Any, network: Network, samples: list[dict[str, NDArray[Any]]], threshold: float
) -> dict[str, Observed]:
    if imported is not None:
        return run_torch(imported, samples, threshold)
    if str(model).endswith(".onnx"):
        return run_onnx(Path(str(model)), network, samples, threshold)
    raise UnsupportedError(
        f"{network.name} can't be run: it has no weights and no code",
        hint="calibrate an .onnx file, a .pt2 file or module.py:function, or state densities in a YAML",
    )


class _Densities:
    """Decides between a fitted model and the tensor's own non-zeros, and collects what has to be written for the latter."""

    def __init__(self, densities: str, network: Network | None, values_file: Path | None) -> None:
        self._densities = densities
        self._shapes = einsum_shapes(network) if network is not None else {}
        self._storage = _storage(network) if network is not None else {}
        self._values_file = values_file
        self._arrays: dict[str, NDArray[np.bool_]] = {}

    def choose(
        self, name: str, weights: Weights, nonzero: NDArray[np.bool_], fitted: Fit, *, stored: bool
    ) -> tuple[DensitySpec, str, str]:
        """Density, model and note of a parameter."""
        # A pattern is what hardware is made for, whatever tiles that cut its groups hold.
        off = fitted.misfit > LARGEST_MISFIT and not isinstance(fitted.density, str)
        wanted = self._densities == "actual" or (self._densities == "auto" and off)
        if not wanted or fitted.model == "dense" or nonzero.ndim < 2:
            note = ""
            if off:
                note = f"tiles are {fitted.misfit:.0%} off the model: keep the weights themselves (--densities actual)"
            return fitted.density, fitted.model, note
        uses = self._shapes.get(name, [nonzero.shape])
        if self._storage.get(name) == "transposed":
            nonzero, stored = nonzero.T, False
        if self._storage.get(name) == "unknown":
            return fitted.density, fitted.model, "fitted: Einsums use it both as it is stored and transposed"
        if not all(same_order(nonzero.shape, shape) for shape in uses):
            return (
                fitted.density,
                fitted.model,
                f"fitted: Einsums use it as {uses[0]}, another order than it is stored in",
            )
        if stored and weights.file is not None:
            file = str(weights.file.resolve())
            if self._values_file is not None:  # both move together
                file = os.path.relpath(file, self._values_file.resolve().parent)
            return {"distribution": "actual", "file": file, "array": weights.array}, "actual", ""
        if self._values_file is None:
            raise SpecError("the weights' own non-zeros need a file to be kept in", hint="values_file='profile.npz'")
        self._arrays[name] = nonzero
        return {"distribution": "actual", "file": self._values_file.name, "array": name}, "actual", ""

    def write(self) -> None:
        """Write the collected masks."""
        if self._arrays and self._values_file is not None:
            from fiberloom.workload.profile.array_archive import write_arrays
            from fiberloom.workload.profile.yaml_file import write_whole

            content = io.BytesIO()
            write_arrays(content, self._arrays, compressed=True)
            write_whole(self._values_file, content.getvalue())


def _storage(network: Network) -> dict[str, str]:
    """Matrices of weights by how they are stored: ``same`` order as their Einsum, ``transposed``, or ``unknown``.

    Importers that know how a matrix is stored say so by the order of its ranks. Where one does not, extents tell if they differ.
    """
    found: dict[str, str] = {}
    for operator in network.einsums:
        assert operator.einsum is not None
        name = operator.operands.get("W", "")
        if not name or len(network.tensors[name].shape) != 2:
            continue
        stored, shape = network.tensors[name].shape, operator.einsum.tensor_shape("W")
        how = "transposed" if stored != shape and stored == shape[::-1] else "same"
        found[name] = how if found.get(name, how) == how else "unknown"
    return found
