"""Timeloop problems → `Einsum`: shape, projections, instance and densities."""

from __future__ import annotations

import re
from typing import Any

from fiberloom.errors import nearest
from fiberloom.input.construct import construct
from fiberloom.input.field import Field
from fiberloom.workload.einsum import Einsum, IndexTerm, Tensor

_NAME = re.compile(r"[A-Za-z_]\w*")
_SHAPE_FIELDS = ("name", "dimensions", "coefficients", "data_spaces", "flatten", "version")

_CONVOLUTION = {
    "Weights": "C K R S",
    "Inputs": "N C R*Wdilation+P*Wstride S*Hdilation+Q*Hstride",
    "Outputs": "N K Q P",
}
# The shapes that Timeloop v3.0.3 ships by name: dimensions, coefficients (1 unless given), ranks; the last is written.
WELL_KNOWN_SHAPES: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    "cnn_layer": ("RSPQCKN", ("Wstride", "Hstride", "Wdilation", "Hdilation"), _CONVOLUTION),
    "gemm_ABZ": ("MNK", (), {"A": "M K", "B": "N K", "Z": "M N"}),
}


def read_problem(problem: Field, warnings: list[str]) -> Einsum:
    """The Einsum of a Timeloop ``problem``.

    Tensors keep their order, the output last. Instance keys that are neither dimensions nor coefficients are reported
    in `warnings` and left out.

    Raises:
        SpecError: with the place of what is wrong.
    """
    fields = problem.mapping(hyphens=True)
    shape = fields.get("shape")
    if shape is None:
        raise problem.error("'shape' is missing", "add 'shape:' with dimensions and data_spaces")
    name, dimensions, coefficients, ranks, outputs, spaces = _well_known(shape) if shape.is_text else _shape(shape)
    if "instance" in fields:
        problem.refuse_unknown(fields, ("shape", "instance", "version", "name"))
        instance_field = fields["instance"]
        instance = instance_field.mapping()
    else:
        instance_field = problem
        instance = {k: v for k, v in problem.mapping().items() if k not in ("shape", "version", "name")}
    bounds: dict[str, int] = {}
    for dimension in dimensions:
        if dimension not in instance:
            raise instance_field.error(f"dimension '{dimension}' has no bound", f"add '{dimension}: <whole number>'")
        bounds[dimension] = instance[dimension].integer(minimum=1)
    values = dict(coefficients)
    for coefficient in coefficients:
        if coefficient in instance:
            values[coefficient] = instance[coefficient].integer()
    densities = _densities(instance, list(ranks))
    for key, value in instance.items():
        if key not in bounds and key not in values and key not in ("densities", "commonDensity"):
            warnings.append(f"{value.where}: '{key}' is neither a dimension nor a coefficient; ignored")
    tensors = []
    for tensor, expressions in ranks.items():
        here = spaces.get(tensor, shape)
        indices = tuple(
            tuple(_term(variable, coefficient, bounds, values, here) for variable, coefficient in rank)
            for rank in expressions
        )
        places = {"density": densities[tensor][1]} if tensor in densities else {}
        fields_of_tensor = {
            "name": tensor,
            "ranks": indices,
            "is_output": tensor in outputs,
            "density": densities[tensor][0] if tensor in densities else None,
        }
        tensors.append(construct(Tensor, fields_of_tensor, here, places))
    tensors.sort(key=lambda t: t.is_output)
    return construct(
        Einsum, {"name": name, "shape": bounds, "tensors": tuple(tensors)}, problem, {"shape": instance_field}
    )


_Ranks = dict[str, list[list[tuple[str, str | None]]]]


def _well_known(shape: Field) -> tuple[str, list[str], dict[str, int], _Ranks, set[str], dict[str, Field]]:
    text = shape.text()
    known = text.removesuffix(".yaml").removesuffix(".cfg").replace("-", "_")
    if known not in WELL_KNOWN_SHAPES:
        raise shape.error(
            f"there is no well-known shape '{text}'",
            nearest(known, WELL_KNOWN_SHAPES) + "; or write the shape out (dimensions, data_spaces)",
        )
    dimensions, coefficients, tensors = WELL_KNOWN_SHAPES[known]
    ranks: _Ranks = {}
    for tensor, expressions in tensors.items():
        ranks[tensor] = [
            [(term.partition("*")[0], term.partition("*")[2] or None) for term in expression.split("+")]
            for expression in expressions.split()
        ]
    return known, list(dimensions), dict.fromkeys(coefficients, 1), ranks, {list(tensors)[-1]}, {}


def _shape(shape: Field) -> tuple[str, list[str], dict[str, int], _Ranks, set[str], dict[str, Field]]:
    fields = shape.mapping(hyphens=True)
    shape.refuse_unknown(fields, _SHAPE_FIELDS)
    if "flatten" in fields and fields["flatten"].value:
        raise fields["flatten"].unsupported(
            "flattened dimensions are not supported", "write the Einsum with the flat dimension"
        )
    for needed in ("dimensions", "data_spaces"):
        if needed not in fields:
            raise shape.error(f"'{needed}' is missing", f"add '{needed}: […]'")
    dimensions = fields["dimensions"].names()
    for dimension in dimensions:
        if not _NAME.fullmatch(dimension) or dimensions.count(dimension) > 1:
            raise fields["dimensions"].error(
                f"'{dimension}' is not a dimension name, or stands twice",
                "dimensions are different words of letters and digits",
            )
    coefficients: dict[str, int] = {}
    for item in fields["coefficients"].items() if "coefficients" in fields else []:
        coefficient = item.mapping()
        item.refuse_unknown(coefficient, ("name", "default"))
        if "name" not in coefficient:
            raise item.error("a coefficient needs a name", "write {name: Wstride, default: 1}")
        coefficients[coefficient["name"].text()] = coefficient["default"].integer() if "default" in coefficient else 1
    ranks: _Ranks = {}
    outputs: set[str] = set()
    spaces: dict[str, Field] = {}
    for item in fields["data_spaces"].items():
        space = item.mapping(hyphens=True)
        item.refuse_unknown(space, ("name", "projection", "read_write", "ranks"))
        if "name" not in space or "projection" not in space:
            raise item.error(
                "a data space needs a name and a projection", "write {name: A, projection: [[[M]], [[K]]]}"
            )
        tensor = space["name"].text()
        if not _NAME.fullmatch(tensor) or tensor in ranks:
            raise space["name"].error(
                f"'{tensor}' is not a tensor name, or stands twice",
                "tensors have different names of letters and digits",
            )
        ranks[tensor] = [_rank(rank) for rank in space["projection"].items()]
        spaces[tensor] = item
        if "read_write" in space and space["read_write"].boolean():
            outputs.add(tensor)
    if len(outputs) != 1:
        raise fields["data_spaces"].error(
            f"{len(outputs) or 'none'} of the data spaces is marked as written",
            "mark the output, and only it, with read_write: true",
        )
    name = fields["name"].text() if "name" in fields and fields["name"].value not in (None, "") else "problem"
    return name, dimensions, coefficients, ranks, outputs, spaces


def _rank(rank: Field) -> list[tuple[str, str | None]]:
    """One rank: ``M``, or a list of terms ``[M]`` and ``[P, Wstride]``."""
    if rank.is_text:
        return [(rank.text(), None)]
    terms: list[tuple[str, str | None]] = []
    for term in rank.items():
        names = [term.text()] if term.is_text else [part.text() for part in term.items()]
        if not 1 <= len(names) <= 2:
            raise term.error(f"a term has {len(names)} parts", "a term is [dimension] or [dimension, coefficient]")
        terms.append((names[0], names[1] if len(names) == 2 else None))
    if not terms:
        raise rank.error("a rank without terms", "write [[M]] for a rank indexed by M")
    return terms


def _term(
    variable: str, coefficient: str | None, bounds: dict[str, int], values: dict[str, int], here: Field
) -> IndexTerm:
    if variable not in bounds:
        raise here.error(f"'{variable}' is not a dimension", nearest(variable, bounds))
    if coefficient is None:
        return IndexTerm(1, variable)
    if coefficient not in values:
        raise here.error(f"'{coefficient}' is not a coefficient", nearest(coefficient, values))
    if values[coefficient] == 0:
        raise here.error(f"coefficient '{coefficient}' is 0", "strides and dilations are whole numbers other than 0")
    return IndexTerm(values[coefficient], variable)


def _densities(instance: dict[str, Field], tensors: list[str]) -> dict[str, tuple[Any, Field]]:
    found: dict[str, tuple[Any, Field]] = {}
    if "commonDensity" in instance:
        common = instance["commonDensity"]
        return {tensor: (_density(common), common) for tensor in tensors}
    if "densities" in instance:
        given = instance["densities"].mapping()
        for tensor, value in given.items():
            if tensor not in tensors:
                raise value.error(f"a density for '{tensor}', which is not a data space", nearest(tensor, tensors))
            found[tensor] = (_density(value), value)
    return found


_DISTRIBUTIONS = {
    "fixed": "fixed-structured",
    "fixed_structured": "fixed-structured",
    "hypergeometric": "uniform",
    "uniform": "uniform",
    "banded": "banded",
    "diagonal": "banded",
    "real_data": "actual",
    "actual": "actual",
}


def _density(density: Field) -> dict[str, Any]:
    """The density mapping of the spec; a bare number is fixed-structured, as in Timeloop."""
    if not density.is_mapping:
        return {"distribution": "fixed-structured", "density": float(density.number(minimum=0, maximum=1))}
    fields = density.mapping(hyphens=True)
    density.refuse_unknown(fields, ("distribution", "density", "band_width", "workload_tensor_size", "data_file_path"))
    if "distribution" not in fields:
        raise density.error("'distribution' is missing", "known: " + ", ".join(_DISTRIBUTIONS))
    given = fields["distribution"].text()
    distribution = _DISTRIBUTIONS.get(given.replace("-", "_"))
    if distribution is None:
        raise fields["distribution"].error(
            f"density distribution '{given}' is not known", nearest(given, _DISTRIBUTIONS)
        )
    needed = {"banded": "band_width", "actual": "data_file_path"}.get(distribution, "density")
    if needed not in fields and needed != "band_width":
        raise density.error(f"a {given} density needs '{needed}'", f"add '{needed}: …'")
    for key in ("band_width", "workload_tensor_size"):
        if key != needed and key in fields and fields[key].value:
            raise fields[key].unsupported(f"'{fields[key].name}' has no meaning for a {given} density", "remove it")
    if distribution == "banded":
        return {
            "distribution": "banded",
            "band_width": fields["band_width"].integer(minimum=0) if "band_width" in fields else 0,
        }
    if distribution == "actual":
        return {"distribution": "actual", "file": fields["data_file_path"].text()}
    return {"distribution": distribution, "density": float(fields["density"].number(minimum=0, maximum=1))}
