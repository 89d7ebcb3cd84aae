"""Attributes of Timeloop components, under all the names that Timeloop accepts.

Defaults are those of Timeloop's own parser: words of 16 bits, a block of width / word bits where neither block nor
cluster is given, no decompression or compression, partial sums accumulated everywhere but in DRAM.
"""

from __future__ import annotations

import difflib
from typing import Any

from fiberloom.architecture.levels import ComponentClass
from fiberloom.input.field import Field

WORD_BITS = 16  # Timeloop's default word width of storage and arithmetic

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
    (
        "network_fill_latency",
        "network_drain_latency",
        "fill_latency",
        "drain_latency",
        "network_read",
        "network_fill",
        "network_drain",
        "network_update",
        "network_operand",
        "network_result",
        "network_attributes",
        "allow_overbooking",
        "has_power_gating",
        "power_gated_at",
        "tile_partition_supported",
        "per_dataspace_bandwidth_consumption_scale",
        "vector_access_energy",
        "addr_gen_energy",
        "cluster_area",
        "router_energy",
        "wire_energy",
        "energy_per_hop",
        "energy_per_ingress",
    )
)
# Attributes that real inputs carry and that don't change a given mapping's counts.
_HARMLESS = frozenset(
    (
        "technology",
        "global_cycle_seconds",
        "n_banks",
        "num_banks",
        "n_ports",
        "num_ports",
        "nports",
        "n_rdwr_ports",
        "n_rd_ports",
        "n_wr_ports",
        "n_rw_ports",
        "type",
        "metadata_block_size",
        "metadata_counter_width",
        "metadata_n_banks",
        "multiplier_width",
        "adder_width",
        "update_fifo_depth",
        "control_queue_depth",
        "action_latency_cycles",
        "concordant_compressed_tile_traversal",
        "latency",
        "tile_width",
        "version",
    )
)


class Attributes:
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
        if (
            depth is None
        ):  # a store without a size is not checked at all, one with a size has the metadata room it states
            metadata_depth = None
        elif metadata_depth is None and component is not ComponentClass.DRAM:
            metadata_depth = 0
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
