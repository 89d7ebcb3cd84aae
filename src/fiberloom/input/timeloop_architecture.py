"""Timeloop architectures → `Architecture`: trees of v0.3, flat dumps and node lists of v0.4.

Defaults are those of Timeloop's own parser: words of 16 bits, a block of width / word bits where neither block nor
cluster is given, no decompression or compression, partial sums accumulated everywhere but in DRAM.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.input.construct import construct
from fiberloom.input.expressions import Number
from fiberloom.input.field import Field
from fiberloom.input.timeloop_tables import ComponentTables

WORD_BITS = 16  # Timeloop's default word width of storage and arithmetic

_STORAGE = ("DRAM", "SRAM", "regfile", "smartbuffer", "storage")
_COMPUTE = ("mac", "compute")
_NETWORK = ("XY_NoC", "Legacy", "ReductionTree", "SimpleMulticast")
_RANGE = re.compile(r"\[\s*(\d+)\s*\.\.\s*(\d+)\s*\]")

# Attributes by the names that Timeloop accepts, first match wins.
_ALIASES: dict[str, tuple[str, ...]] = {
    "word_bits": ("word_bits", "word_width", "datawidth"),
    "block": ("block_size", "n_words"),
    "cluster": ("cluster_size",),
    "width": ("width", "memory_width", "data_storage_width"),
    "entries": ("entries",),
    "depth": ("depth", "memory_depth", "data_storage_depth"),
    "kilobytes": ("sizeKB",),
    "metadata_word_bits": ("metadata_datawidth", "metadata_word_bits"),
    "metadata_width": ("metadata_storage_width", "metadata_width"),
    "metadata_depth": ("metadata_storage_depth", "metadata_depth"),
    "multiple_buffering": ("multiple_buffering",),
    "min_utilization": ("min_utilization",),
    "bandwidth": ("bandwidth",),
    "read_bandwidth": ("read_bandwidth",),
    "write_bandwidth": ("write_bandwidth",),
    "shared_bandwidth": ("shared_bandwidth",),
    "reduction": ("reduction_supported",),
    "decompression": ("decompression_supported",),
    "compression": ("compression_supported",),
    "instances": ("instances",),
    "mesh_x": ("meshX",),
    "mesh_y": ("meshY",),
}
_READ = frozenset(name for names in _ALIASES.values() for name in names)

# Attributes that change Timeloop's numbers and that fiberloom does not model: refused unless null, false or zero.
_UNSUPPORTED = frozenset(
    """network_fill_latency network_drain_latency fill_latency drain_latency network_read network_fill network_drain
    network_update network_operand network_result network_attributes allow_overbooking has_power_gating power_gated_at
    tile_partition_supported per_dataspace_bandwidth_consumption_scale vector_access_energy addr_gen_energy cluster_area
    router_energy wire_energy energy_per_hop energy_per_ingress""".split()
)
# Attributes that real inputs carry and that don't change a given mapping's counts.
_HARMLESS = frozenset(
    """technology global_cycle_seconds n_banks num_banks n_ports num_ports nports n_rdwr_ports n_rd_ports n_wr_ports n_rw_ports
    type metadata_block_size metadata_counter_width metadata_n_banks multiplier_width adder_width update_fifo_depth
    control_queue_depth action_latency_cycles concordant_compressed_tile_traversal latency tile_width version""".split()
)
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
    """

    architecture: Architecture
    aliases: Mapping[str, str]
    sparse: tuple[tuple[str, Field], ...]


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
    return TimeloopArchitecture(construct(Architecture, values, root), chain.aliases, tuple(chain.sparse))


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
        _component(component, component.mapping(), chain, multiplication, path, {})
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
            values = {"name": fan_out, "component": ComponentClass.DUMMY, "instances": multiplication, "mesh_x": mesh[0],
                      "mesh_y": mesh[1], "word_bits": 1, "keep": (), "peer_links": True}  # fmt: skip
            chain.levels.append(construct(StorageLevel, values, node))
            chain.aliases[_base_name(name)] = fan_out
            multiplication *= x * y
            mesh = (mesh[0] * x, mesh[1] * y)
        if container:
            node.refuse_unknown(fields, _COMPONENT_FIELDS)
            inherited |= attributes
            _note_technology(attributes, chain)
            path = f"{path}.{_base_name(name)}" if path else _base_name(name)
        else:
            component = {
                **inherited,
                "meshX": Field(mesh[0], node.source, node.path),
                "meshY": Field(mesh[1], node.source, node.path),
            }
            _component(node, fields, chain, multiplication, path, component)


def _spatial(spatial: Field | None) -> tuple[int, int]:
    fields = spatial.mapping() if spatial is not None else {}
    if spatial is not None:
        spatial.refuse_unknown(fields, ("meshX", "meshY"))
    x, y = (fields[axis].integer(minimum=1) if axis in fields else 1 for axis in ("meshX", "meshY"))
    return x, y


def _component(
    component: Field,
    fields: dict[str, Field],
    chain: _Chain,
    multiplication: int,
    path: str,
    inherited: dict[str, Field],
) -> None:
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
    reader = _Attributes(name, attributes, component, chain.warnings)
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


class _Attributes:
    """The attributes of one component, by Timeloop's names, as fields of `StorageLevel` and `Compute`."""

    def __init__(self, name: str, attributes: dict[str, Field], component: Field, warnings: list[str]) -> None:
        self.name = name
        self.attributes = attributes
        self.component = component
        self.warnings = warnings
        self.places: dict[str, Field] = {}
        for key, value in attributes.items():
            if key in _UNSUPPORTED:
                if value.value not in (None, False, 0, "", "false", "False", "None") and value.value != []:
                    raise value.unsupported(f"attribute '{value.name}' is not supported")
            elif key not in _READ and key not in _HARMLESS:
                close = difflib.get_close_matches(key, _READ, n=1, cutoff=0.85)
                if close:
                    warnings.append(f"{value.where}: attribute '{value.name}' is not known; did you mean '{close[0]}'?")

    def find(self, what: str) -> Field | None:
        """The field of an attribute under any of its names; None when absent or null."""
        for alias in _ALIASES[what]:
            found = self.attributes.get(alias)
            if found is not None and found.value is not None:
                return found
        return None

    def integer(self, what: str, place: str, minimum: int = 0) -> int | None:
        found = self.find(what)
        if found is None:
            return None
        self.places[place] = found
        return found.integer(minimum=minimum)

    def boolean(self, what: str, default: bool) -> bool:
        found = self.find(what)
        return default if found is None else found.boolean()

    def bandwidth(self, what: str) -> float | None:
        found = self.find(what)
        return None if found is None else float(found.number(above=0))

    def common(self, multiplication: int) -> dict[str, Any]:
        instances = self.integer("instances", "instances", 1) or multiplication
        kept = {
            k: v.value
            for k, v in self.attributes.items()
            if k not in _READ and k not in _UNSUPPORTED and v.value is not None
        }
        return {
            "name": self.name,
            "instances": instances,
            "mesh_x": self.integer("mesh_x", "mesh_x", 1),
            "mesh_y": self.integer("mesh_y", "mesh_y", 1),
            "word_bits": self.integer("word_bits", "word_bits", 1) or WORD_BITS,
            "attributes": kept,
        }

    def storage(self, component: ComponentClass) -> dict[str, Any]:
        word = self.integer("word_bits", "word_bits", 1) or WORD_BITS
        width, block, cluster = self.geometry(word)
        depth = self.depth(word, block)
        buffering, utilization = self.find("multiple_buffering"), self.find("min_utilization")
        both = self.bandwidth("bandwidth")
        metadata_width = self.integer("metadata_width", "metadata_width_bits") or None
        metadata_depth = self.integer("metadata_depth", "metadata_depth")
        if metadata_depth is None and depth is not None and component is not ComponentClass.DRAM:
            metadata_depth = 0  # a sized store has room for metadata only where it is given
        decompress, compress = self.boolean("decompression", False), self.boolean("compression", False)
        return {
            "component": component,
            "depth": depth,
            "width_bits": width,
            "block_words": block,
            "cluster_size": cluster,
            "multiple_buffering": 1.0 if buffering is None else float(buffering.number(above=0)),
            "min_utilization": 0.0 if utilization is None else float(utilization.number(minimum=0, maximum=1)),
            "read_bandwidth": self.bandwidth("read_bandwidth") or (both / 2 if both else None),
            "write_bandwidth": self.bandwidth("write_bandwidth") or (both / 2 if both else None),
            "shared_bandwidth": self.bandwidth("shared_bandwidth"),
            "metadata_word_bits": self.integer("metadata_word_bits", "metadata_word_bits") or 0,
            "metadata_width_bits": metadata_width,
            "metadata_depth": None if metadata_width is None else metadata_depth,
            "can_accumulate": self.boolean("reduction", component is not ComponentClass.DRAM),
            "decompress": decompress,
            "compress": compress,
        }

    def geometry(self, word: int) -> tuple[int, int, int]:
        """Width in bits, words per block and words per cluster; the one that is not given follows from the others."""
        width = self.integer("width", "width_bits", 1)
        block, cluster = self.integer("block", "block_words", 1), self.integer("cluster", "cluster_size", 1)
        if width is None:
            return word * (block or 1) * (cluster or 1), block or 1, cluster or 1
        if width % (word * (block or 1)):
            raise self.places["width_bits"].error(
                f"width {width} of '{self.name}' is not a multiple of its block: {block or 1} words of {word} bits",
                f"the width is block_size x cluster_size x datawidth; {word * (block or 1)} would fit",
            )
        if block is None:
            block = max(1, width // (cluster or 1) // word)
            cluster = cluster or 1
        elif cluster is None:
            cluster = width // (word * block)
        elif block * cluster * word != width:
            raise self.places["width_bits"].error(
                f"width {width} of '{self.name}' is not block {block} x cluster {cluster} x word {word} bits",
                f"it would be {block * cluster * word}",
            )
        return width, block, cluster

    def depth(self, word: int, block: int) -> int | None:
        """Rows, from ``entries`` (words), ``depth`` (rows) or ``sizeKB``."""
        words = self.integer("entries", "depth")
        kilobytes = self.find("kilobytes")
        if words is None and self.find("depth") is not None:
            return self.integer("depth", "depth")
        if words is None and kilobytes is not None:
            words = int(kilobytes.number(minimum=0) * 8192) // word
        if words is None:
            return None
        if words % block:
            self.warnings.append(
                f"'{self.name}': {words} words are not whole rows of {block}; the last, partial row is left out"
            )
        return words // block


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
