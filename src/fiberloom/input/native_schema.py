"""JSON Schema of fiberloom's own YAML, for editors that complete and check while one types."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from fiberloom.architecture.levels import Architecture, Compute, StorageLevel
from fiberloom.architecture.sparse import ActionOptimization, Format, TensorFormat
from fiberloom.input.native import FEATURES, VERSION
from fiberloom.input.notation import COMPOSITIONS

Schema = dict[str, Any]

_EXPRESSION: Schema = {"type": "string", "description": "arithmetic, such as 64 * 1024"}
_WHOLE: Schema = {"anyOf": [{"type": "integer", "minimum": 1}, _EXPRESSION]}
_NAMES: Schema = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}
_LOOPS: Schema = {
    "description": "loops, outermost first: m=2 n=4",
    "anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": _WHOLE}, {"type": "null"}],
}
_FACTORS: Schema = _LOOPS | {"description": "factor per variable: m=2 n=4, or {m: 2, n: 4}"}
_SWITCHES: Schema = {"type": "object", "additionalProperties": {"type": "boolean"}}


def json_schema() -> Schema:
    """JSON Schema (draft 2020-12) of a native file, with the short notations."""
    definitions: dict[str, Schema] = {"tensor_format": _tensor_format()}
    level = _component(StorageLevel, definitions)
    level["properties"] |= {
        "keep": _NAMES | {"description": "tensors held here; all when absent"},
        "formats": {"type": "object", "additionalProperties": {"$ref": "#/$defs/tensor_format"}},
        "optimizations": {"type": "array", "items": _inlined(ActionOptimization, definitions)},
        **{
            name: _NAMES | {"description": f"{kind.value}: B <- A; A <-> B; Z <- A, B"}
            for name, kind in FEATURES.items()
        },
    }
    for replaced in ("TensorFormat", "RankFormat", "Format"):
        definitions.pop(replaced, None)
    definitions |= {"level": level, "compute": _component(Compute, definitions), "loops_of_level": _level_mapping()}
    definitions |= {"constraints_of_level": _level_constraints()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fiberloom specification",
        "type": "object",
        "required": ["fiberloom"],
        "additionalProperties": False,
        "properties": {
            "fiberloom": {"const": VERSION, "description": "version of the file format"},
            "variables": {"type": "object", "additionalProperties": {"anyOf": [{"type": "number"}, _EXPRESSION]}},
            "workload": _workload(),
            "architecture": {"anyOf": [{"type": "string", "description": "a design of the library"}, _architecture()]},
            "mapping": {"type": "array", "items": {"$ref": "#/$defs/loops_of_level"}},
            "constraints": {
                "description": "of the map space, by level name",
                "type": "object",
                "additionalProperties": {"$ref": "#/$defs/constraints_of_level"},
            },
        },
        "$defs": definitions,
    }


def _workload() -> Schema:
    density: Schema = {
        "anyOf": [
            {"type": "number", "minimum": 0, "maximum": 1, "description": "share of non-zeros, anywhere"},
            {"type": "string", "pattern": r"^\s*\d+\s*:\s*\d+\s*$", "description": "N of every M"},
            _EXPRESSION,
            {"type": "object", "required": ["distribution"]},
            {"type": "null"},
        ]
    }
    return {
        "type": "object",
        "required": ["einsum", "shape"],
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string"},
            "einsum": {"type": "string", "description": "Z[m,n] = A[m,k] * B[k,n]"},
            "shape": {"type": "object", "additionalProperties": _WHOLE},
            "constants": {"type": "object", "additionalProperties": {"anyOf": [{"type": "integer"}, _EXPRESSION]}},
            "word_bits": {"type": "object", "additionalProperties": _WHOLE},
            "density": {"type": "object", "additionalProperties": density},
        },
    }


def _architecture() -> Schema:
    own = Architecture.model_json_schema()["properties"]
    properties = {name: _open_to_expressions(own[name]) for name in own if name not in ("levels", "compute")}
    properties["levels"] = {
        "type": "array",
        "minItems": 1,
        "items": {"$ref": "#/$defs/level"},
        "description": "outermost first",
    }
    properties["compute"] = {"$ref": "#/$defs/compute"}
    return {
        "type": "object",
        "required": ["levels", "compute"],
        "additionalProperties": False,
        "properties": properties,
    }


def _component(model: type[BaseModel], definitions: dict[str, Schema]) -> Schema:
    schema = _inlined(model, definitions)
    properties = {name: _open_to_expressions(value) for name, value in schema["properties"].items()}
    properties["mesh"] = {
        "description": "instances along X and Y: 4x4",
        "anyOf": [{"type": "string", "pattern": r"^\s*\d+\s*[xX×]\s*\d+\s*$"}, {"type": "integer", "minimum": 1}],
    }
    return {"type": "object", "required": ["name"], "additionalProperties": False, "properties": properties}


def _level_mapping() -> Schema:
    axes: Schema = {"type": "object", "additionalProperties": False, "properties": {"x": _LOOPS, "y": _LOOPS}}
    return {
        "type": "object",
        "required": ["level"],
        "additionalProperties": False,
        "properties": {
            "level": {"type": "string"},
            "temporal": _LOOPS,
            "spatial": {"anyOf": [axes, _LOOPS]},
            "spatial_x": _NAMES,
            "keep": _NAMES,
            "multicast": _SWITCHES,
            "peer_links": _SWITCHES,
        },
    }


def _level_constraints() -> Schema:
    temporal: Schema = {
        "factors": _FACTORS,
        "at_least": _FACTORS | {"description": "least factor per variable"},
        "at_most": _FACTORS | {"description": "largest factor per variable"},
        "remaining": _NAMES | {"description": "variables that take what other levels fix of their bound"},
        "inner": _NAMES | {"description": "loops that stand innermost, outermost first"},
        "outer": _NAMES | {"description": "loops that stand outermost, outermost first"},
        "order": _NAMES | {"description": "all loops, outermost first"},
    }
    spatial: Schema = {
        **temporal,
        "x": _NAMES | {"description": "variables that may run along X; any when absent"},
        "y": _NAMES | {"description": "variables that may run along Y; any when absent"},
        "least_fanout": _WHOLE | {"description": "least product of the spatial factors"},
        "most_fanout": _WHOLE | {"description": "largest product of the spatial factors"},
    }
    return {
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {
            "temporal": {"type": ["object", "null"], "additionalProperties": False, "properties": temporal},
            "spatial": {"type": ["object", "null"], "additionalProperties": False, "properties": spatial},
            "keep": _NAMES | {"description": "tensors that the level must hold"},
            "bypass": _NAMES | {"description": "tensors that the level must not hold"},
            "free": _NAMES | {"description": "tensors whose keeping is searched whatever the architecture says"},
            "multicast": _SWITCHES,
            "peer_links": _SWITCHES,
        },
    }


def _tensor_format() -> Schema:
    names = ", ".join([*COMPOSITIONS, "COO", *Format])
    ranks: Schema = {
        "anyOf": [
            {"type": "string", "description": f"{names}, or several ranks: UOP-CP"},
            {
                "type": "array",
                "minItems": 1,
                "items": {
                    "anyOf": [
                        {"enum": [f.value for f in Format]},
                        {
                            "type": "object",
                            "required": ["format"],
                            "additionalProperties": False,
                            "properties": {
                                "format": {"enum": [f.value for f in Format]},
                                "variables": _NAMES,
                                "metadata_word_bits": {"type": "integer", "minimum": 0},
                                "payload_word_bits": {"type": "integer", "minimum": 0},
                            },
                        },
                    ]
                },
            },
        ]
    }
    full: Schema = {
        "type": "object",
        "required": ["ranks"],
        "additionalProperties": False,
        "properties": {"ranks": ranks, "inner_to_outer": {"type": "boolean"}},
    }
    return {
        "description": TensorFormat.__doc__.strip().splitlines()[0] if TensorFormat.__doc__ else "",
        "anyOf": [ranks, full],
    }


def _inlined(model: type[BaseModel], definitions: dict[str, Schema]) -> Schema:
    """The schema that pydantic makes of `model`, its definitions moved to `definitions`."""
    schema = model.model_json_schema()
    for name, definition in schema.pop("$defs", {}).items():
        definitions.setdefault(name, definition)
    return schema


def _open_to_expressions(field: Schema) -> Schema:
    """Numbers may also be written as arithmetic."""
    kinds = [option.get("type") for option in field.get("anyOf", [field])]
    if not {"integer", "number"} & set(kinds):
        return field
    options = (
        field["anyOf"] if "anyOf" in field else [{k: v for k, v in field.items() if k not in ("default", "title")}]
    )
    kept = {k: v for k, v in field.items() if k in ("default", "title", "description")}
    return {**kept, "anyOf": [*options, _EXPRESSION]}
