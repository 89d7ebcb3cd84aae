"""Off-chip memory: energy per bit by interface type, device and interface together."""

from __future__ import annotations

from fiberloom.architecture.components._base import Estimate, attribute_location
from fiberloom.architecture.components.storage import StorageShape, storage_actions
from fiberloom.architecture.components.technology import Technology
from fiberloom.architecture.levels import StorageLevel
from fiberloom.errors import SpecError, nearest

DEFAULT_DRAM = "LPDDR4"

DRAM_PJ_PER_BIT = {
    # source: Horowitz, ISSCC 2014: 1.3 to 2.6 nJ per 64 bits; Jouppi et al., ISCA 2021, table 2: 1300 pJ per 64 bits
    # for DDR3 and DDR4 alike. trust: good (lower end of the range).
    "DDR3": 20.3,
    "DDR4": 20.3,
    # source: the value that accelerator studies with LPDDR4 commonly take (512 pJ per 64 bits, e.g. Sparseloop,
    # MICRO 2022). trust: medium; device simulations range from 4 to 14 pJ/bit with page hits and load.
    "LPDDR4": 8.0,
    # source: O'Connor et al., Fine-grained DRAM, MICRO 2017: 14.0 pJ/bit for GDDR5, 3.9 for HBM2. trust: high.
    "GDDR5": 14.0,
    "HBM2": 3.9,
    # source: Jouppi et al., ISCA 2021, table 2: 350 to 480 pJ per 64 bits; the middle. trust: good, recalled. (The same
    # table gives HBM2 250 to 450, that is 3.9 to 7.0 pJ/bit.)
    "GDDR6": 6.5,
}
"""pJ per bit, read or written, by type of memory."""


def estimate_dram(level: StorageLevel, tech: Technology) -> Estimate:
    """A DRAM interface. Area is 0: the device is off chip, and its controller is not modelled.

    The node of the accelerator changes nothing. Row activation is averaged into the figure; refresh and standby
    power are not modelled, so ``leak`` and gated accesses are 0.

    Attributes read: ``dram`` (`DRAM_PJ_PER_BIT`), LPDDR4 when absent.

    Raises:
        SpecError: for an unknown type.
    """
    wanted = str(level.attributes.get("dram", DEFAULT_DRAM))
    kind = wanted.upper().replace("-", "").replace("_", "").replace(" ", "")
    if kind not in DRAM_PJ_PER_BIT:
        where = attribute_location(level, "dram")
        raise SpecError(f"unknown DRAM type '{wanted}'", where=where, hint=nearest(kind, DRAM_PJ_PER_BIT))
    per_bit = DRAM_PJ_PER_BIT[kind]
    shape = StorageShape.of(level, bounded=False)
    energy, logic = storage_actions(
        level,
        tech,
        shape,
        data_pj=per_bit * shape.width,
        metadata_pj=per_bit * shape.metadata_width,
        gated_share=0.0,
    )
    energy["leak"] = 0.0
    assumed = "" if "dram" in level.attributes else " (assumed: no dram attribute)"
    notes = f"; {logic.note}" if logic.note else ""
    return Estimate(
        energy,
        0.0,
        f"{kind}{assumed} at {per_bit:g} pJ/bit whatever the node; off chip: no area, refresh or standby{notes}",
    )
