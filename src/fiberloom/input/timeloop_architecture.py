"""Timeloop architectures → `Architecture`: trees of v0.3, flat dumps and node lists of v0.4."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.input.construct import construct
from fiberloom.input.expressions import Number
from fiberloom.input.field import Field
from fiberloom.input.timeloop_attributes import Attributes
from fiberloom.input.timeloop_tables import ComponentTables

_STORAGE = ("DRAM", "SRAM", "regfile", "smartbuffer", "storage")
_COMPUTE = ("mac", "compute")
_NETWORK = ("XY_NoC", "Legacy", "ReductionTree", "SimpleMulticast")
_RANGE = re.compile(r"\[\s*(\d+)\s*\.\.\s*(\d+)\s*\]")

_COMPONENT_FIELDS = (
    "name", "class", "subclass", "attributes", "required_actions", "enabled", "constraints", "sparse_optimizations",
    "spatial", "area_scale", "energy_scale", "actions", "parser_version",
)  # fmt: skip


@dataclass(frozen=True)
class TimeloopArchitecture:
    """What an architecture section says.

    Attributes:
        architecture: storage and compute.
        aliases: other names that mappings may use for a level (a v0.4 container for the fan-out that it opens).
        sparse: sparse optimisations written inside components, by level name.
        constraints: name and constraints of the nodes that have some.
    """

    architecture: Architecture
    aliases: Mapping[str, str]
    sparse: tuple[tuple[str, Field], ...]
    constraints: tuple[tuple[Field, Field], ...] = ()


@dataclass
class _Chain:
    """What is collected on the walk from the outermost component inwards."""

    tables: ComponentTables
    warnings: list[str]
    levels: list[StorageLevel] = field(default_factory=list)
    compute: Compute | None = None
    technology: str | None = None
    cycle_seconds: float | None = None
    aliases: dict[str, str] = field(default_factory=dict)
    sparse: list[tuple[str, Field]] = field(default_factory=list)
    constraints: list[tuple[Field, Field]] = field(default_factory=list)


def read_architecture(
    root: Field, tables: ComponentTables, warnings: list[str], scope: Mapping[str, Number]
) -> TimeloopArchitecture:
    """The architecture of a Timeloop ``architecture`` section.

    Args:
        root: the section.
        tables: energies and areas.
        warnings: what a reader should know is added here.
        scope: variables that attribute expressions may use.

    Raises:
        SpecError: with the place of what is wrong.
        UnsupportedError: for attributes that change numbers and are not modelled.
    """
    root = root.in_scope(scope)
    fields = root.mapping()
    chain = _Chain(tables, warnings)
    if "subtree" in fields:
        root.refuse_unknown(fields, ("version", "subtree", "name", "attributes", "local", "parser_version"))
        _walk_tree(root, chain, 1, "")
    elif "nodes" in fields:
        root.refuse_unknown(fields, ("version", "nodes", "name", "parser_version"))
        _walk_nodes(fields["nodes"], chain)
    elif "arithmetic" in fields or "storage" in fields:
        raise root.unsupported(
            "the flat architecture format before v0.2 is not supported", "write it as 'subtree' (v0.3)"
        )
    else:
        raise root.error("'subtree' is missing", "a Timeloop architecture has 'subtree' (v0.3) or 'nodes' (v0.4)")
    if not chain.levels:
        raise root.error("no storage level found", f"storage has a class with one of: {', '.join(_STORAGE)}")
    if chain.compute is None:
        raise root.error("no compute found", f"compute has a class with one of: {', '.join(_COMPUTE)}")
    top = next(
        (item for item in (fields["subtree"].items() if "subtree" in fields else []) if "name" in item.mapping()), None
    )
    values = {
        "name": _base_name(top.child("name").text()) if top is not None else "architecture",
        "technology": chain.technology or "45nm",
        "cycle_seconds": chain.cycle_seconds or 1e-9,
        "levels": tuple(chain.levels),
        "compute": chain.compute,
    }
    architecture = construct(Architecture, values, root)
    return TimeloopArchitecture(architecture, chain.aliases, tuple(chain.sparse), tuple(chain.constraints))


def _walk_tree(node: Field, chain: _Chain, multiplication: int, path: str) -> None:
    """v0.3: one subtree inside the other, ``name[0..63]`` multiplies everything from there on."""
    fields = node.mapping()
    if "subtree" not in fields:
        return
    subtrees = fields["subtree"].items()
    if len(subtrees) != 1:
        raise fields["subtree"].unsupported(
            f"{len(subtrees)} subtrees side by side", "write one memory hierarchy: one subtree per level"
        )
    tree = subtrees[0]
    inside = tree.mapping()
    tree.refuse_unknown(inside, ("name", "attributes", "local", "subtree"))
    name = inside["name"].text() if "name" in inside else "system"
    multiplication *= _range_size(name, inside.get("name", tree))
    path = f"{path}.{_base_name(name)}" if path else _base_name(name)
    if "attributes" in inside:
        _note_technology(inside["attributes"].mapping(hyphens=True), chain)
    for component in inside["local"].items() if "local" in inside else []:
        _component(component, chain, multiplication, path, {})
    _walk_tree(tree, chain, multiplication, path)


def _walk_nodes(nodes: Field, chain: _Chain) -> None:
    """v0.4: a list of ``!Container`` and ``!Component`` from outside in; ``spatial`` multiplies from that node on."""
    multiplication, path = 1, ""
    mesh = (1, 1)
    inherited: dict[str, Field] = {}
    for node in nodes.items():
        fields = node.mapping()
        if node.tag is None and "class" not in fields and "name" not in fields:
            raise node.unsupported(
                "only !Container and !Component nodes are supported", "list the nodes from outside in"
            )
        container = node.tag == "!Container" or (node.tag is None and "class" not in fields)
        if "name" not in fields:
            raise node.error("a node needs a name", "add 'name: …'")
        name = fields["name"].text()
        attributes = fields["attributes"].mapping(hyphens=True) if "attributes" in fields else {}
        x, y = _spatial(fields.get("spatial"))
        if x * y > 1:
            fan_out = f"inter_{_base_name(name)}_spatial"
            values = {
                "name": fan_out,
                "component": ComponentClass.DUMMY,
                "instances": multiplication,
                "mesh_x": mesh[0],
                "mesh_y": mesh[1],
                "word_bits": 1,
                "keep": (),
                "peer_links": True,
            }
            chain.levels.append(construct(StorageLevel, values, node))
            chain.aliases[_base_name(name)] = fan_out
            multiplication *= x * y
            mesh = (mesh[0] * x, mesh[1] * y)
        if container:
            node.refuse_unknown(fields, _COMPONENT_FIELDS)
            inherited |= attributes
            if "constraints" in fields:
                chain.constraints.append((fields["name"], fields["constraints"]))
            _note_technology(attributes, chain)
            path = f"{path}.{_base_name(name)}" if path else _base_name(name)
        else:
            component = {
                **inherited,
                "meshX": Field(mesh[0], node.source, node.path),
                "meshY": Field(mesh[1], node.source, node.path),
            }
            _component(node, chain, multiplication, path, component)


def _spatial(spatial: Field | None) -> tuple[int, int]:
    fields = spatial.mapping() if spatial is not None else {}
    if spatial is not None:
        spatial.refuse_unknown(fields, ("meshX", "meshY"))
    x, y = (fields[axis].integer(minimum=1) if axis in fields else 1 for axis in ("meshX", "meshY"))
    return x, y


def _component(component: Field, chain: _Chain, multiplication: int, path: str, inherited: Mapping[str, Field]) -> None:
    fields = component.mapping()
    component.refuse_unknown(fields, _COMPONENT_FIELDS)
    if "name" not in fields or "class" not in fields:
        raise component.error(
            "a component needs a name and a class", "write {name: buffer, class: storage, attributes: {…}}"
        )
    if "enabled" in fields and fields["enabled"].value is not None and not fields["enabled"].boolean():
        chain.warnings.append(f"{component.where}: '{fields['name'].text()}' is not enabled; left out")
        return
    name, kind = fields["name"].text(), fields["class"].text()
    subclass = fields["subclass"].text() if "subclass" in fields and fields["subclass"].value is not None else ""
    attributes = {**inherited, **(fields["attributes"].mapping(hyphens=True) if "attributes" in fields else {})}
    attributes = {
        k: v.in_scope({**v.scope, **_numbers(attributes, k)}) if v.is_text else v for k, v in attributes.items()
    }
    multiplication *= _range_size(name, fields["name"])
    name = _base_name(name)
    _note_technology(attributes, chain)
    if "sparse_optimizations" in fields:
        chain.sparse.append((name, fields["sparse_optimizations"]))
    if "constraints" in fields:
        chain.constraints.append((fields["name"], fields["constraints"]))
    reader = Attributes(name, attributes, component, chain.warnings)
    common = reader.common(multiplication)
    common["energy_pj"] = chain.tables.energy_of(f"{path}.{name}")
    common["area_um2"] = chain.tables.area_of(f"{path}.{name}")
    if any(word in kind for word in _STORAGE):
        values = {**common, **reader.storage(_storage_class(kind, subclass, attributes)), "peer_links": True}
        chain.levels.append(construct(StorageLevel, values, component, reader.places))
    elif any(word in kind for word in _COMPUTE):
        if chain.compute is not None:
            raise component.unsupported(
                f"a second compute component '{name}' beside '{chain.compute.name}'", "keep one"
            )
        common["component"] = ComponentClass.MAC
        chain.compute = construct(Compute, common, component, reader.places)
    elif any(word in kind for word in _NETWORK):
        raise fields["class"].unsupported(
            f"network class '{kind}' is not supported", "remove the component; networks are implicit"
        )
    else:
        chain.warnings.append(f"{component.where}: '{name}' of class '{kind}' is neither storage nor compute; ignored")


def _storage_class(kind: str, subclass: str, attributes: dict[str, Field]) -> ComponentClass:
    technology = attributes.get("technology")
    if "DRAM" in kind or (technology is not None and technology.value == "DRAM"):
        return ComponentClass.DRAM
    if kind.startswith("dummy"):
        return ComponentClass.DUMMY
    words = f"{kind} {subclass}".lower()
    if "regfile" in words or "_rf" in words or "register" in words or subclass == "reg":
        return ComponentClass.REGFILE
    return ComponentClass.SRAM


def _numbers(attributes: dict[str, Field], without: str) -> dict[str, Number]:
    """Attributes that are plain numbers, as names for the expressions of their neighbours."""
    return {k: v.value for k, v in attributes.items() if k != without and v.is_number}


def _note_technology(attributes: dict[str, Field], chain: _Chain) -> None:
    technology, cycle = attributes.get("technology"), attributes.get("global_cycle_seconds")
    if (
        chain.technology is None
        and technology is not None
        and technology.value not in (None, -1, "DRAM", "must_specify")
    ):
        text = technology.text()
        chain.technology = f"{text}nm" if text.isdigit() else text
    if chain.cycle_seconds is None and cycle is not None and cycle.value is not None:
        chain.cycle_seconds = float(cycle.number(above=0))


def _range_size(name: str, place: Field) -> int:
    if "[" not in name:
        return 1
    match = _RANGE.search(name)
    if match is None or int(match[2]) < int(match[1]):
        raise place.error(f"'{name}' has no range of instances", "write name[0..63]")
    return int(match[2]) - int(match[1]) + 1


def _base_name(name: str) -> str:
    return name.partition("[")[0].strip()
