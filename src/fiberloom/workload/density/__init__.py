"""Density models: how many non-zeros a tile of a tensor holds.

One class per file: `DenseDensity`, `UniformDensity`, `FixedStructuredDensity`, `HierarchicalDensity`, `BandedDensity`,
`ActualDensity`.
`build_density` makes one from what a specification says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from fiberloom.errors import Location, nearest
from fiberloom.workload.density._base import TILE_STATISTICS, DensityModel, Occupancy
from fiberloom.workload.density._spec import Parameters, checked_density, checked_pattern
from fiberloom.workload.density.actual import ActualDensity
from fiberloom.workload.density.banded import BandedDensity
from fiberloom.workload.density.dense import DenseDensity
from fiberloom.workload.density.fixed_structured import FixedStructuredDensity
from fiberloom.workload.density.hierarchical import HierarchicalDensity, is_hierarchical
from fiberloom.workload.density.uniform import UniformDensity

__all__ = [
    "TILE_STATISTICS",
    "ActualDensity",
    "BandedDensity",
    "DenseDensity",
    "DensityModel",
    "FixedStructuredDensity",
    "HierarchicalDensity",
    "Occupancy",
    "UniformDensity",
    "build_density",
]


def build_density(
    tensor_name: str,
    shape: Sequence[int],
    spec: DensityModel | Mapping[str, Any] | str | float | Fraction | None,
    *,
    base_directory: str | Path | None = None,
    where: Location | None = None,
) -> DensityModel:
    """The density model of a tensor.

    Args:
        tensor_name: for messages.
        shape: shape of the whole tensor.
        spec: None (dense); a number in 0..1 (`uniform`); a pattern ``"N:M"`` (`fixed-structured`, N of every M kept) or
            ``"C1(4:8)->C0(2:4)"`` (`hierarchical`, rank by rank); a mapping with ``distribution`` and that model's
            parameters; or a model, which must have the tensor's shape.
        base_directory: what relative paths in `spec` are relative to; None is the working directory.
        where: place of the specification.

    Raises:
        SpecError: for anything that can't be read, with what would be right.
        MissingExtraError: when a file needs a package that is not installed.
    """
    directory = None if base_directory is None else Path(base_directory)
    parameters = Parameters(tensor_name, {}, directory, where)
    shape = tuple(shape)
    if spec is None:
        return DenseDensity(shape)
    if isinstance(spec, DensityModel):
        if spec.shape != shape:
            raise parameters.error(f"the model is of shape {spec.shape}, but the tensor has shape {shape}")
        return spec
    if isinstance(spec, str) and is_hierarchical(spec):
        return HierarchicalDensity.from_spec(shape, Parameters(tensor_name, {"pattern": spec}, directory, where))
    if isinstance(spec, str):
        return FixedStructuredDensity(shape, checked_pattern(spec, parameters))
    if not isinstance(spec, Mapping):
        return UniformDensity(shape, checked_density(spec, parameters))
    model = _named(spec, parameters)
    values = {str(key): value for key, value in spec.items() if key != "distribution"}
    for name in values:
        if name not in model.parameters:
            listed = f"parameters of '{model.distribution}': {', '.join(model.parameters) or 'none'}"
            close = nearest(name, model.parameters)
            hint = f"{close} {listed}" if close.startswith("did you mean") else listed
            raise parameters.error(f"'{model.distribution}' has no parameter '{name}'", name=name, hint=hint)
    return model.from_spec(shape, Parameters(tensor_name, values, directory, where))


def _named(spec: Mapping[str, Any], parameters: Parameters) -> type[DensityModel]:
    """The class that ``distribution`` names, hyphen or underscore."""
    known = dict(sorted(DensityModel.registry.items()))
    known |= {alias: model for model in known.values() for alias in model.aliases}
    name = spec.get("distribution")
    if name is None:
        raise parameters.error("'distribution' is missing", hint=f"known: {', '.join(known)}")
    model = known.get(str(name).replace("_", "-"))
    if model is None:
        raise parameters.error(f"unknown distribution '{name}'", name="distribution", hint=nearest(str(name), known))
    return model
