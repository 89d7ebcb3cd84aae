"""Spec objects → fiberloom's own YAML, written for people and read back as equal objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fiberloom.architecture.levels import Architecture, Component, Compute, StorageLevel
from fiberloom.architecture.sparse import ActionOptimization
from fiberloom.input.native import FEATURES, VERSION
from fiberloom.input.notation import format_text, leader_follower_text
from fiberloom.input.yaml_text import Inline, InlineList, yaml_text
from fiberloom.mapping.constraints import LevelConstraints, LoopConstraints
from fiberloom.mapping.nest import LevelMapping
from fiberloom.mapping.nest import Mapping as LoopNest
from fiberloom.workload.einsum import Einsum, IndexExpression, Tensor

if TYPE_CHECKING:
    from fiberloom.input.specification import Specification


def dump(specification: Specification) -> str:
    """The specification as native YAML.

    Workloads, architectures and mappings that came from files read back as equal objects. A mapping made in Python
    reads back with its default loop orders written out.
    """
    document: dict[str, Any] = {"fiberloom": VERSION}
    if specification.workload is not None:
        document["workload"] = _workload(specification.workload)
    if specification.architecture is not None:
        document["architecture"] = _architecture(specification.architecture)
    if specification.mapping is not None:
        variables = list(specification.workload.shape) if specification.workload is not None else []
        document["mapping"] = _mapping(specification.mapping, variables)
    if specification.constraints.levels:
        variables = list(specification.workload.shape) if specification.workload is not None else []
        document["constraints"] = {
            name: _level_constraints(level, variables) for name, level in specification.constraints.levels.items()
        }
    return yaml_text(document)


def _workload(einsum: Einsum) -> dict[str, Any]:
    text = f"{_tensor(einsum.output)} = {' * '.join(_tensor(t) for t in einsum.inputs)}"
    section: dict[str, Any] = {"name": einsum.name, "einsum": text, "shape": Inline(einsum.shape)}
    word_bits = {t.name: t.word_bits for t in einsum.tensors if t.word_bits is not None}
    if word_bits:
        section["word_bits"] = Inline(word_bits)
    densities = {t.name: _density(t.density) for t in einsum.tensors if t.density is not None}
    if densities:
        section["density"] = densities
    return section


def _tensor(tensor: Tensor) -> str:
    return f"{tensor.name}[{', '.join(_index(rank) for rank in tensor.ranks)}]"


def _index(rank: IndexExpression) -> str:
    text = ""
    for coefficient, variable in rank:
        sign = "-" if coefficient < 0 else "+" if text else ""
        factor = "" if abs(coefficient) == 1 else f"{abs(coefficient)}*"
        text += f"{sign}{factor}{variable}"
    return text


def _density(density: float | str | dict[str, Any]) -> Any:
    if isinstance(density, str):
        return density
    if not isinstance(density, dict):
        return float(density)
    if density.keys() == {"distribution", "density"} and isinstance(density["density"], str):
        return density["density"]
    return Inline(density)


def _architecture(architecture: Architecture) -> dict[str, Any]:
    section: dict[str, Any] = {"name": architecture.name}
    if architecture.description:
        section["description"] = architecture.description
    if architecture.sources:
        section["sources"] = list(architecture.sources)
    section["technology"] = architecture.technology
    section["cycle_seconds"] = architecture.cycle_seconds
    section["levels"] = [_storage_level(level) for level in architecture.levels]
    section["compute"] = _component(architecture.compute, Compute)
    return section


def _component(component: Component, model: type[Component]) -> dict[str, Any]:
    """The fields that differ from their defaults, short notations for the mesh and for tables."""
    section: dict[str, Any] = {"name": component.name, "component": component.component.value}
    if component.component is model.model_fields["component"].default and model is Compute:
        del section["component"]
    if component.mesh_x is not None and component.mesh_y is not None:
        section["mesh"] = f"{component.mesh_x}x{component.mesh_y}"
    else:
        section["instances"] = component.instances
    skipped = {"name", "component", "instances", "formats", "optimizations", "attributes", "energy_pj", "keep"}
    if "mesh" in section:
        skipped |= {"mesh_x", "mesh_y"}
    for name, info in model.model_fields.items():
        value = getattr(component, name)
        if name not in skipped and value != info.default:
            section[name] = value
    if component.energy_pj is not None:
        section["energy_pj"] = Inline({action: float(energy) for action, energy in component.energy_pj.items()})
    if component.attributes:
        section["attributes"] = Inline(component.attributes)
    return section


def _storage_level(level: StorageLevel) -> dict[str, Any]:
    section = _component(level, StorageLevel)
    if level.keep is not None:
        section["keep"] = InlineList(level.keep)
    if level.formats:
        section["formats"] = {tensor: _inline_ranks(format_text(f)) for tensor, f in level.formats.items()}
    return section | _optimizations(level.optimizations)


def _inline_ranks(ranks: Any) -> Any:
    if isinstance(ranks, dict):
        return {"ranks": _inline_ranks(ranks["ranks"]), "inner_to_outer": True}
    if isinstance(ranks, list):
        return [Inline(rank) if isinstance(rank, dict) else rank for rank in ranks]
    return ranks


def _optimizations(optimizations: Sequence[ActionOptimization]) -> dict[str, Any]:
    """``gate``, ``skip`` … lists where each kind's entries stand together, else the long form."""
    names = {kind: name for name, kind in FEATURES.items()}
    section: dict[str, Any] = {}
    last = None
    for entry in optimizations:
        name = names[entry.kind]
        simple = all(bool(o.leaders) is (name != "skip_position") for o in entry.options)
        if (name in section and name != last) or not simple or (name == "skip_position" and len(entry.options) > 1):
            return {"optimizations": [Inline(e.model_dump(mode="json")) for e in optimizations]}
        section.setdefault(name, []).append(leader_follower_text(entry.options))
        last = name
    return section


def _mapping(mapping: LoopNest, variables: Sequence[str]) -> list[dict[str, Any]]:
    return [_level_mapping(name, level, variables) for name, level in mapping.levels.items()]


def _level_mapping(name: str, level: LevelMapping, variables: Sequence[str]) -> dict[str, Any]:
    section: dict[str, Any] = {"level": name}
    temporal = _order(level.temporal, level.temporal_order, variables)
    if temporal:
        section["temporal"] = _loops(temporal, level.temporal)
    spatial = _order(level.spatial, level.spatial_order, variables)
    if level.spatial_x is None:
        if spatial:
            section["spatial"] = _loops(spatial, level.spatial)
    else:
        along_y = [v for v in spatial if v not in level.spatial_x]
        along_x = [v for v in spatial if v in level.spatial_x]
        if along_y + along_x == list(spatial) and along_x == list(level.spatial_x):
            section["spatial"] = {"x": _loops(along_x, level.spatial), "y": _loops(along_y, level.spatial)}
        else:
            section["spatial"] = _loops(spatial, level.spatial)
            section["spatial_x"] = InlineList(level.spatial_x)
    if level.keep is not None:
        section["keep"] = InlineList(level.keep)
    for field in ("multicast", "peer_links"):
        if getattr(level, field):
            section[field] = Inline(getattr(level, field))
    return section


def _level_constraints(level: LevelConstraints, variables: Sequence[str]) -> dict[str, Any]:
    section: dict[str, Any] = {}
    for kind, loops in (("temporal", level.temporal), ("spatial", level.spatial)):
        if loops != LoopConstraints():
            section[kind] = _loop_constraints(loops, variables)
    for field in ("keep", "bypass", "free"):
        if getattr(level, field):
            section[field] = InlineList(getattr(level, field))
    for field in ("multicast", "peer_links"):
        if getattr(level, field):
            section[field] = Inline(getattr(level, field))
    return section


def _loop_constraints(loops: LoopConstraints, variables: Sequence[str]) -> dict[str, Any]:
    """One line, so loops are listed inline too."""
    section = Inline()
    for name, default in LoopConstraints().model_dump().items():
        value = getattr(loops, name)
        if value != default:
            if name == "inner" and variables and len(value) == len(variables):
                name = "order"
            section[name] = InlineList(value) if isinstance(value, tuple) else value
    return section


def _order(factors: Mapping[str, int], order: Sequence[str], variables: Sequence[str]) -> list[str]:
    """Loops outermost first; those not listed stand outside, in declaration order reversed."""
    declared = list(variables) or list(factors)
    return [v for v in reversed(declared) if v in factors and v not in order] + list(order)


def _loops(order: Sequence[str], factors: Mapping[str, int]) -> str:
    return " ".join(f"{variable}={factors.get(variable, 1)}" for variable in order)
