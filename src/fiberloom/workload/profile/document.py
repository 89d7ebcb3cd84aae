"""A sparsity profile: densities by tensor, what they were found from, and how they come to a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fiberloom.errors import FiberloomError, Location, SpecError, nearest
from fiberloom.workload.density import build_density
from fiberloom.workload.network import Network, NetworkTensor, Role

DensitySpec = float | str | dict[str, Any] | None
"""What `fiberloom.workload.density.build_density` takes; None is dense."""


@dataclass(frozen=True)
class TileCheck:
    """How well a model predicts tiles of one shape.

    Attributes:
        tile: extent per axis.
        empty, predicted_empty: share of tiles without a non-zero, 0..1.
        misfit: mean number of non-zeros by which tiles differ from the prediction, over the mean number in a tile.
    """

    tile: tuple[int, ...]
    empty: float
    predicted_empty: float
    misfit: float


@dataclass(frozen=True)
class TensorProfile:
    """The density of one tensor, or of all whose names match a pattern.

    Attributes:
        density: what evaluation takes; see `fiberloom.workload.density.build_density`.
        role: ``parameter``, ``activation``, …; empty where it was stated.
        shape: of the tensor; None where it was stated.
        nonzero: measured share of non-zeros, 0..1; for activations the mean over samples.
        spread: standard deviation of that share over samples.
        samples: how many samples were measured.
        model: what was fitted: ``uniform``, ``fixed-structured``, ``2:4 along axis 1``, ``banded``, ``dense``, ``actual``.
        misfit: of that model; see `fiberloom.workload.profile.fitting`.
        tiles: what the misfit is the mean of.
        channels: share of non-zeros of successive channels, in up to 32 bins.
        empty_channels: channels without any non-zero.
        note: what a reader should know.
    """

    density: DensitySpec
    role: str = ""
    shape: tuple[int, ...] | None = None
    nonzero: float | None = None
    spread: float | None = None
    samples: int | None = None
    model: str = ""
    misfit: float | None = None
    tiles: tuple[TileCheck, ...] = ()
    channels: tuple[float, ...] = ()
    empty_channels: int | None = None
    note: str = ""


@dataclass(frozen=True)
class SparsityProfile:
    """Densities of a network's tensors.

    Attributes:
        tensors: by name, or by a pattern with ``*``, ``?`` and ``[…]``. A name counts more than a pattern, and a later pattern
            more than an earlier one.
        network: what it was made from.
        notes: what holds for the whole of it.
        directory: what file names in densities are relative to; None is the working directory.
        places: where each entry stands, for messages.
    """

    tensors: Mapping[str, TensorProfile]
    network: str = ""
    notes: tuple[str, ...] = ()
    directory: Path | None = None
    places: Mapping[str, Location] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, path: str | Path) -> SparsityProfile:
        """The profile in a file.

        Raises:
            SpecError: if it is missing, cut off, or not a sparsity profile, with file, line and field.
        """
        from fiberloom.workload.profile.yaml_file import read_profile

        return read_profile(Path(path))

    def save(self, path: str | Path) -> None:
        """Write it as YAML; a file that was there is replaced at once or not at all.

        Raises:
            FiberloomError: when the system refuses.
        """
        from fiberloom.workload.profile.yaml_file import write_profile

        write_profile(self, Path(path))

    def apply(self, network: Network) -> Network:
        """The network with the profile's densities.

        Raises:
            SpecError: if a name or pattern matches no tensor, a shape is another than the network's, or a density does not fit the
                tensor (a file that is missing or of another shape, a band in a tensor of four ranks).
        """
        changed: dict[str, NetworkTensor] = {}
        uses = einsum_shapes(network)
        for key, name in self._matches(network):
            entry, tensor = self.tensors[key], network.tensors[name]
            where = self.places.get(key)
            if entry.shape is not None and not _serves(entry, tensor):
                raise SpecError(
                    f"tensor '{name}' has shape {list(entry.shape)} in the profile and {list(tensor.shape)} in {network.name}",
                    where=where,
                    hint="make the profile from the same model, with the same image size or sequence length",
                )
            density = self._absolute(entry.density)
            for shape in uses.get(name, [tensor.shape]):
                self._check(name, shape, density, where)
            changed[name] = replace(tensor, density=density)
        return network.with_tensors(changed.values())

    def _matches(self, network: Network) -> Iterator[tuple[str, str]]:
        """Key and tensor, so that what comes later counts more."""
        names = sorted(self.tensors, key=lambda key: key in network.tensors)  # patterns first
        for key in names:
            if key in network.tensors:
                yield key, key
                continue
            found = [name for name in network.tensors if fnmatchcase(name, key)] if _is_pattern(key) else []
            if not found:
                what = "pattern" if _is_pattern(key) else "tensor"
                raise SpecError(
                    f"no tensor of {network.name} matches '{key}'" if _is_pattern(key) else f"{network.name} has no tensor '{key}'",
                    where=self.places.get(key),
                    hint=f"{nearest(key, network.tensors)} 'fiberloom profile' lists the names" if what == "tensor"
                    else nearest(key.strip("*?"), network.tensors),
                )  # fmt: skip
            yield from ((key, name) for name in found)

    def _absolute(self, density: DensitySpec) -> DensitySpec:
        if not isinstance(density, dict) or not isinstance(density.get("file"), str):
            return density
        file = Path(density["file"]).expanduser()
        return {**density, "file": str((self.directory or Path()).resolve() / file)}

    @staticmethod
    def _check(name: str, shape: Sequence[int], density: DensitySpec, where: Location | None) -> None:
        if isinstance(density, dict) and "file" in density:
            # The values themselves are read when they are needed.
            if not Path(density["file"]).is_file():
                raise SpecError(f"density of '{name}': there is no file {density['file']}", where=where)
            return
        try:
            build_density(name, shape, density)
        except FiberloomError as error:
            raise SpecError(error.problem, where=where or error.where, hint=error.hint) from None


def einsum_shapes(network: Network) -> dict[str, list[tuple[int, ...]]]:
    """Per tensor of the network, the different shapes that Einsums give it."""
    shapes: dict[str, dict[tuple[int, ...], None]] = {}
    for operator in network.einsums:
        assert operator.einsum is not None
        for operand, name in operator.operands.items():
            shapes.setdefault(name, {})[operator.einsum.tensor_shape(operand)] = None
    return {name: list(found) for name, found in shapes.items()}


def _serves(entry: TensorProfile, tensor: NetworkTensor) -> bool:
    """Whether an entry was measured on such a tensor; the share of an activation's non-zeros holds for any batch."""
    assert entry.shape is not None
    if tensor.role in (Role.PARAMETER, Role.CONSTANT) or len(entry.shape) < 2:
        return entry.shape == tensor.shape
    return len(entry.shape) == len(tensor.shape) and entry.shape[1:] == tensor.shape[1:]


def _is_pattern(key: str) -> bool:
    return any(c in key for c in "*?[")
