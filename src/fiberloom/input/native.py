"""fiberloom's own YAML → spec objects. docs/yaml.md describes the format."""

from __future__ import annotations

import importlib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from fiberloom.architecture.levels import Architecture, Component, ComponentClass, Compute, StorageLevel
from fiberloom.architecture.sparse import ActionOptimization, LeaderFollower, SafKind, TensorFormat
from fiberloom.errors import FiberloomError, SpecError, nearest
from fiberloom.input.construct import construct
from fiberloom.input.expressions import Number
from fiberloom.input.field import Field
from fiberloom.input.notation import read_format, read_leader_followers, read_loops, read_mesh
from fiberloom.mapping.nest import LevelMapping
from fiberloom.mapping.nest import Mapping as LoopNest
from fiberloom.workload.einsum import Einsum

VERSION = 1
WIDEST_WORD = 1024  # bits, as `Tensor.word_bits`

SECTIONS = ("fiberloom", "variables", "workload", "architecture", "mapping", "constraints")
WORKLOAD_FIELDS = ("name", "einsum", "shape", "constants", "word_bits", "density")
MAPPING_FIELDS = ("level", "temporal", "spatial", "spatial_x", "keep", "multicast", "peer_links")
FEATURES = {
    "gate": SafKind.GATING,
    "skip": SafKind.SKIPPING,
    "skip_spatial": SafKind.SPATIAL_SKIPPING,
    "skip_position": SafKind.POSITION_SKIPPING,
}
"""Fields of a level that hold leader–follower strings, and what they mean."""


def read_native(sections: Mapping[str, Field]) -> tuple[Einsum | None, Architecture | None, LoopNest | None]:
    """Workload, architecture and mapping of the top-level sections of one or several files.

    Raises:
        SpecError: with the place of what is wrong.
    """
    for key, section in sections.items():
        if key not in SECTIONS:
            raise section.error(f"unknown section '{key}'", nearest(key, SECTIONS))
    if "fiberloom" not in sections:
        first = next(iter(sections.values()))
        raise first.error("the file doesn't say which format it has", f"add the line 'fiberloom: {VERSION}' at the top")
    if sections["fiberloom"].value != VERSION or isinstance(sections["fiberloom"].value, bool):
        raise sections["fiberloom"].error(
            f"format version {sections['fiberloom'].value} is not known", f"this release reads 'fiberloom: {VERSION}'"
        )
    scope = scope_of(sections)
    scoped = {key: section.in_scope(scope) for key, section in sections.items() if section.value is not None}
    workload = _workload(scoped["workload"]) if "workload" in scoped else None
    architecture = _architecture(scoped["architecture"], workload) if "architecture" in scoped else None
    mapping = _mapping(scoped["mapping"], workload, architecture) if "mapping" in scoped else None
    if mapping is None and workload is not None and "architecture" in scoped and scoped["architecture"].is_text:
        mapping = _dataflow(scoped["architecture"], workload)
    return workload, architecture, mapping


def scope_of(sections: Mapping[str, Field]) -> dict[str, Number]:
    """Numbers of ``variables:``; each may use those before it.

    Raises:
        SpecError: for a value that is not a number.
    """
    scope: dict[str, Number] = {}
    if "variables" in sections:
        for name, value in sections["variables"].mapping().items():
            scope[name] = value.in_scope(scope).number()
    return scope


def _workload(section: Field) -> Einsum:
    fields = section.mapping()
    section.refuse_unknown(fields, WORKLOAD_FIELDS)
    for needed, example in (("einsum", "Z[m,n] = A[m,k] * B[k,n]"), ("shape", "{m: 512, n: 1024, k: 256}")):
        if needed not in fields:
            raise section.error(f"'{needed}' is missing", f"add '{needed}: {example}'")
    constants = {k: v.integer() for k, v in fields["constants"].mapping().items()} if "constants" in fields else {}
    shape_field = fields["shape"].in_scope({**section.scope, **constants})
    shape = {k: v.integer(minimum=1) for k, v in shape_field.mapping().items()}
    widths = fields["word_bits"].mapping() if "word_bits" in fields else {}
    word_bits = {k: v.integer(minimum=1, maximum=WIDEST_WORD) for k, v in widths.items()}
    densities = {k: _density(v) for k, v in fields["density"].mapping().items()} if "density" in fields else {}
    name = fields["name"].text() if "name" in fields else "einsum"
    equation = fields["einsum"]
    bare = _parse(equation, shape, name, constants)
    tensors = [tensor.name for tensor in bare.tensors]
    for variable in shape:
        if not any(variable in tensor.variables for tensor in bare.tensors):
            place = shape_field.child(variable)
            raise place.error(f"'{variable}' does not occur in the Einsum", nearest(variable, _used_variables(bare)))
    for given, what in ((word_bits, "word_bits"), (densities, "density")):
        for tensor in given:
            if tensor not in tensors:
                raise (
                    fields[what]
                    .child(tensor)
                    .error(f"'{tensor}' is not a tensor of the Einsum", nearest(tensor, tensors))
                )
    for tensor, density in densities.items():
        _check_density(tensor, density, bare, fields["density"].child(tensor))
    return _parse(equation, shape, name, constants, densities=densities, word_bits=word_bits)


def _parse(equation: Field, shape: dict[str, int], name: str, constants: dict[str, int], **tensors: Any) -> Einsum:
    try:
        return Einsum.parse(equation.text(), shape, name=name, constants=constants, where=equation.where, **tensors)
    except SpecError as error:
        hint = error.hint or "write e.g. Z[m,n] = A[m,k] * B[k,n], with a bound in 'shape' for every variable"
        raise SpecError(error.problem, where=error.where, hint=hint) from None


def _used_variables(einsum: Einsum) -> list[str]:
    return list(dict.fromkeys(v for tensor in einsum.tensors for v in tensor.variables))


def _density(field: Field) -> float | dict[str, Any] | None:
    if field.value is None:
        return None
    if field.is_mapping:
        values = plain(field)
        assert isinstance(values, dict)
        return values
    if field.is_text and "(" in field.value:
        return {"distribution": "hierarchical", "pattern": field.text()}
    if field.is_text and ":" in field.value:
        return {"distribution": "fixed-structured", "density": field.text()}
    return float(field.number(minimum=0, maximum=1))


def _check_density(tensor: str, density: Any, einsum: Einsum, field: Field) -> None:
    """Let the density model itself judge its parameters; files are opened when the specification is evaluated."""
    if not isinstance(density, dict) or str(density.get("distribution")).replace("_", "-") in (
        "actual",
        "actual-data",
        "real-data",
    ):
        return
    from fiberloom.workload.density import build_density

    build_density(tensor, einsum.tensor_shape(tensor), density, where=field.where)


def _architecture(section: Field, workload: Einsum | None) -> Architecture:
    if section.is_text:
        return _library(section, workload)
    fields = section.mapping()
    section.refuse_unknown(fields, Architecture.model_fields)
    for needed in ("levels", "compute"):
        if needed not in fields:
            raise section.error(f"'{needed}' is missing", f"add '{needed}:'")
    values: dict[str, Any] = {
        key: fields[key].text()
        for key in ("name", "technology", "description")
        if key in fields and fields[key].value is not None
    }
    if values.get("technology", "").isdigit():
        values["technology"] += "nm"
    if "cycle_seconds" in fields:
        values["cycle_seconds"] = fields["cycle_seconds"].number(above=0)
    if "sources" in fields:
        values["sources"] = tuple(item.text() for item in fields["sources"].items())
    values["levels"] = tuple(_storage_level(level, workload) for level in fields["levels"].items())
    values["compute"] = _compute(fields["compute"])
    return construct(Architecture, values, section)


def _library(section: Field, workload: Einsum | None) -> Architecture:
    name = section.text()
    try:
        load = importlib.import_module("fiberloom.architecture.library").load
    except (ImportError, AttributeError):
        raise section.error(f"there is no library to take '{name}' from", "write the architecture out") from None
    try:
        architecture: Architecture = load(name, workload)
    except FiberloomError as error:
        raise SpecError(error.problem, where=section.where, hint=error.hint) from None
    return architecture


def _dataflow(section: Field, workload: Einsum) -> LoopNest:
    """The mapping that a design's own dataflow gives, where the file names a design and no mapping."""
    from fiberloom.architecture.library import default_mapping

    try:
        return default_mapping(section.text(), workload)
    except FiberloomError as error:
        raise SpecError(error.problem, where=section.where, hint=error.hint) from None


def _storage_level(level: Field, workload: Einsum | None) -> StorageLevel:
    fields = level.mapping()
    level.refuse_unknown(fields, [*StorageLevel.model_fields, "mesh", *FEATURES])
    tensors = None if workload is None else [t.name for t in workload.tensors]
    handled = ("keep", "formats", "optimizations", "mesh", *FEATURES)
    values = _component_values(level, StorageLevel, {k: v for k, v in fields.items() if k not in handled})
    _lay_out(values, fields)
    if "keep" in fields and fields["keep"].value is not None:
        values["keep"] = tuple(_known(name, fields["keep"], tensors) for name in fields["keep"].names())
    if "formats" in fields:
        values["formats"] = _formats(fields["formats"], workload)
    optimizations: list[ActionOptimization] = []
    for key, field in fields.items():
        if key in FEATURES and field.value is not None:
            kind = FEATURES[key]
            for options in read_leader_followers(field, tensors, leaders=kind is not SafKind.POSITION_SKIPPING):
                optimizations.append(ActionOptimization(kind=kind, options=options))
        elif key == "optimizations":
            optimizations += [_optimization(entry, tensors) for entry in field.items()]
    values["optimizations"] = tuple(optimizations)
    return construct(StorageLevel, values, level, fields)


def _formats(section: Field, workload: Einsum | None) -> dict[str, TensorFormat]:
    found = {}
    for tensor, field in section.mapping().items():
        variables = known = None
        if workload is not None:
            _known(tensor, field, [t.name for t in workload.tensors])
            variables, known = workload.tensor(tensor).variables, list(workload.shape)
        if field.value is not None:
            found[tensor] = read_format(field, variables, known)
    return found


def _optimization(entry: Field, tensors: Sequence[str] | None) -> ActionOptimization:
    """The long form: ``{kind: skipping, options: [{follower: B, leaders: [A]}]}``."""
    fields = entry.mapping()
    entry.refuse_unknown(fields, ("kind", "options"))
    if "kind" not in fields or "options" not in fields:
        raise entry.error(
            "an optimisation needs a kind and options", "write {kind: skipping, options: [{follower: B, leaders: [A]}]}"
        )
    options = []
    for option in fields["options"].items():
        pair = option.mapping()
        option.refuse_unknown(pair, ("follower", "leaders"))
        if "follower" not in pair:
            raise option.error("'follower' is missing", "write {follower: B, leaders: [A]}")
        leaders = tuple(_known(name, option, tensors) for name in pair["leaders"].names()) if "leaders" in pair else ()
        options.append(LeaderFollower(follower=_known(pair["follower"].text(), option, tensors), leaders=leaders))
    kind = fields["kind"].one_of([k.value for k in SafKind], "optimisation")
    return construct(ActionOptimization, {"kind": kind, "options": tuple(options)}, entry)


def _compute(section: Field) -> Compute:
    fields = section.mapping()
    section.refuse_unknown(fields, [*Compute.model_fields, "mesh"])
    values = _component_values(section, Compute, {k: v for k, v in fields.items() if k != "mesh"})
    _lay_out(values, fields)
    return construct(Compute, values, section, fields)


def _component_values(here: Field, model: type[Component], fields: Mapping[str, Field]) -> dict[str, Any]:
    """Values of the plain fields: numbers (or expressions), booleans, words, mappings."""
    values: dict[str, Any] = {}
    if "name" not in fields:
        raise here.error("'name' is missing", "add 'name: …'")
    for key, field in fields.items():
        kinds = _kinds(model, key)
        if field.value is None and type(None) in kinds:
            values[key] = None
        elif key == "component":
            values[key] = ComponentClass(field.one_of([c.value for c in ComponentClass], "component"))
        elif bool in kinds:
            values[key] = field.boolean()
        elif int in kinds:
            values[key] = field.integer()
        elif float in kinds:
            values[key] = field.number()
        elif key == "energy_pj":
            values[key] = {action: float(energy.number(minimum=0)) for action, energy in field.mapping().items()}
        elif key == "attributes":
            values[key] = plain(field)
        else:
            values[key] = field.text()
    return values


def _kinds(model: type[BaseModel], name: str) -> tuple[Any, ...]:
    annotation = model.model_fields[name].annotation
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return typing.get_args(annotation)
    return (annotation,)


def _lay_out(values: dict[str, Any], fields: Mapping[str, Field]) -> None:
    """``mesh: 4x4`` and meshes without ``instances``."""
    if "mesh" in fields:
        for other in ("mesh_x", "mesh_y"):
            if other in fields:
                raise fields[other].error(f"'{other}' beside 'mesh'", "give one of them")
        x, y = read_mesh(fields["mesh"])
        values["mesh_x"], values["mesh_y"] = x, y
        if values.setdefault("instances", x * y) != x * y:
            raise fields["mesh"].error(
                f"a mesh of {x} x {y} holds {x * y} instances, but 'instances' is {values['instances']}",
                "leave 'instances' out",
            )
    elif "instances" not in values and (values.get("mesh_x") or values.get("mesh_y")):
        values["instances"] = (values.get("mesh_x") or 1) * (values.get("mesh_y") or 1)


def _mapping(section: Field, workload: Einsum | None, architecture: Architecture | None) -> LoopNest:
    variables = None if workload is None else list(workload.shape)
    tensors = None if workload is None else [t.name for t in workload.tensors]
    names = None if architecture is None else [level.name for level in architecture.levels]
    levels: dict[str, LevelMapping] = {}
    for entry in section.items():
        fields = entry.mapping()
        entry.refuse_unknown(fields, MAPPING_FIELDS)
        if "level" not in fields:
            raise entry.error("'level' is missing", "write {level: DRAM, temporal: m=2 n=4}")
        name = fields["level"].text()
        if names is not None and name not in names:
            raise fields["level"].error(f"'{name}' is not a storage level", nearest(name, names))
        if name in levels:
            raise fields["level"].error(f"level '{name}' stands twice in the mapping", "write one entry per level")
        levels[name] = _level_mapping(entry, fields, variables, tensors)
    return construct(LoopNest, {"levels": levels}, section)


def _level_mapping(
    entry: Field, fields: Mapping[str, Field], variables: Sequence[str] | None, tensors: Sequence[str] | None
) -> LevelMapping:
    values: dict[str, Any] = {}
    if "temporal" in fields:
        loops = read_loops(fields["temporal"], variables)
        values["temporal"], values["temporal_order"] = _factors(loops), tuple(name for name, _ in loops)
    if "spatial" in fields:
        loops, along_x = _spatial(fields["spatial"], variables)
        values["spatial"], values["spatial_order"] = _factors(loops), tuple(name for name, _ in loops)
        values["spatial_x"] = along_x
    if "spatial_x" in fields and fields["spatial_x"].value is not None:
        if values.get("spatial_x") is not None:
            raise fields["spatial_x"].error("'spatial_x' beside 'spatial: {x: …, y: …}'", "give one of them")
        values["spatial_x"] = tuple(fields["spatial_x"].names())
        for name in values["spatial_x"]:
            if name not in values.get("spatial_order", ()):
                raise fields["spatial_x"].error(
                    f"'{name}' has no spatial loop here", nearest(name, values.get("spatial_order", ()))
                )
    if "keep" in fields and fields["keep"].value is not None:
        values["keep"] = tuple(_known(name, fields["keep"], tensors) for name in fields["keep"].names())
    for key in ("multicast", "peer_links"):
        if key in fields:
            values[key] = {
                _known(name, field, tensors): field.boolean() for name, field in fields[key].mapping().items()
            }
    return construct(LevelMapping, values, entry, fields)


def _factors(loops: Sequence[tuple[str, int]]) -> dict[str, int]:
    return {name: factor for name, factor in loops if factor != 1}


def _spatial(field: Field, variables: Sequence[str] | None) -> tuple[list[tuple[str, int]], tuple[str, ...] | None]:
    """Spatial loops outermost first, and those along X: one string (all along X), or ``{x: …, y: …}`` (Y outside X)."""
    by_axis = (
        field.is_mapping
        and field.value
        and all(key in ("x", "y") and not isinstance(value, (int, float)) for key, value in field.value.items())
    )
    if not by_axis:
        return read_loops(field, variables), None
    axes = field.mapping()
    along_x = read_loops(axes["x"], variables) if "x" in axes else []
    along_y = read_loops(axes["y"], variables) if "y" in axes else []
    for name, _ in along_y:
        if name in [other for other, _ in along_x]:
            raise axes["y"].error(f"'{name}' runs along both axes", "write each variable on one axis")
    return along_y + along_x, tuple(name for name, _ in along_x)


def _known(name: str, field: Field, tensors: Sequence[str] | None) -> str:
    if tensors is not None and name not in tensors:
        raise field.error(f"'{name}' is not a tensor of the workload", nearest(name, tensors))
    return name


def plain(field: Field) -> Any:
    """The plain value with all numbers finite.

    Raises:
        SpecError: at a number that is not finite.
    """
    if field.is_mapping:
        return {key: plain(value) for key, value in field.mapping().items()}
    if field.is_list:
        return [plain(item) for item in field.items()]
    if field.is_number:
        return field.number()
    return field.value
