"""SRAM arrays, after the access energies of 8 KB, 32 KB and 1 MB by Horowitz (45 nm) and Jouppi et al. (7 nm)."""

from __future__ import annotations

import math

from fiberloom.architecture.components._base import (
    SRAM_LEAKAGE_NW_PER_BIT,
    Estimate,
    PowerLaw,
    count_attribute,
    leakage_pj_per_cycle,
)
from fiberloom.architecture.components.network import wire_energy_at
from fiberloom.architecture.components.storage import StorageShape, storage_actions
from fiberloom.architecture.components.technology import Technology
from fiberloom.architecture.levels import StorageLevel

_KIB = 1024 * 8
_ANCHOR_BITS = 64
# source: Horowitz, ISSCC 2014, 45 nm: a 64-bit access costs 10 pJ at 8 KB, 20 pJ at 32 KB, 100 pJ at 1 MB.
# trust: high; the law through the outer two gives 19.3 pJ at 32 KB.
_AT_45NM = PowerLaw.through((8 * _KIB, 10.0), (1024 * _KIB, 100.0))
# source: Jouppi et al., ISCA 2021, table 2, 7 nm: 7.5, 8.5, 14 pJ at the same sizes; the line in sqrt(bits) stays
# within 4 %. trust: good (8 KB confirmed in a second place, the others recalled).
_INTERCEPT_7NM_PJ, _SLOPE_7NM_PJ = 6.9, 0.0025
# Below 8 KB the line would pass above the 45 nm law; there the ratio of the 8 KB anchors holds. trust: extrapolation.
_RATIO_7NM_SMALL = 0.75
# Row decoder and control cost as much as this many bits, whatever the width. trust: assumption; with it 512-bit rows
# cost 0.90, 8-bit rows 1.8 of the 64-bit cost per bit.
_OVERHEAD_BITS = 8
# source: at 7 nm real memories take 0.45 mm2/MB (Chiplet Cloud's survey) to 0.64 mm2/MB (64 MB stacked cache on 41 mm2,
# AMD, 2022), which is 2.0 to 2.8 bit cells a bit. trust: +-30 % for large memories.
_CELLS_PER_BIT = 2.0
# Column circuits per bit of width and row circuits per row of a square array, in bit cells. trust: assumption; 8 KB of
# 64-bit rows then take 2.7 bit cells a bit instead of 2.0.
_CELLS_PER_COLUMN, _CELLS_PER_EDGE = 150.0, 150.0
# source: an 8T cell, with one more read port, is 1.3 to 1.6 times a 6T cell. trust: rule of thumb.
_CELL_GROWTH_PER_PORT = 0.5


def sram_access_pj(bits: float, width: int, tech: Technology) -> float:
    """pJ of one access of `width` bits to one bank of `bits` bits."""
    size = max(bits, width, 1.0)
    at_45nm = _AT_45NM(size)
    at_7nm = min(_RATIO_7NM_SMALL * at_45nm, _INTERCEPT_7NM_PJ + _SLOPE_7NM_PJ * math.sqrt(size))
    return tech.energy(at_45nm, at_7nm) * (width + _OVERHEAD_BITS) / (_ANCHOR_BITS + _OVERHEAD_BITS)


def sram_area_um2(bits: float, width: int, banks: int, tech: Technology) -> float:
    """um2 of `banks` banks that hold `bits` bits together and are `width` bits wide each."""
    cells = bits * _CELLS_PER_BIT + banks * (width * _CELLS_PER_COLUMN + math.sqrt(bits / banks) * _CELLS_PER_EDGE)
    return cells * tech.bitcell_um2


def estimate_sram(level: StorageLevel, tech: Technology, cycle_seconds: float) -> Estimate:
    """An SRAM of equal banks; a bank is chosen per access and its data travel half the way across the memory.

    Attributes read: ``banks``, ``ports``.

    Raises:
        SpecError: for a memory without depth.
    """
    banks, ports = count_attribute(level, "banks"), count_attribute(level, "ports")
    shape = StorageShape.of(level)
    growth = 1 + _CELL_GROWTH_PER_PORT * (ports - 1)  # of the cell, hence sqrt of it in wire length

    def access(width: int, bits: int) -> float:
        across_mm = math.sqrt(sram_area_um2(bits, width, banks, tech) * growth) * 1e-3
        bank_mm = math.sqrt(sram_area_um2(bits / banks, width, 1, tech) * growth) * 1e-3
        to_bank = width * wire_energy_at(tech) * max(0.0, across_mm - bank_mm) / 2
        return sram_access_pj(bits / banks, width, tech) * math.sqrt(growth) + to_bank

    data = access(shape.width, shape.bits)
    area = sram_area_um2(shape.bits, shape.width, banks, tech) * growth
    metadata = 0.0
    if shape.metadata_width:
        metadata = access(shape.metadata_width, shape.metadata_bits)
        area += sram_area_um2(shape.metadata_bits, shape.metadata_width, banks, tech) * growth
    energy, logic = storage_actions(level, tech, shape, data_pj=data, metadata_pj=metadata)
    leakage_nw = (shape.bits + shape.metadata_bits) * SRAM_LEAKAGE_NW_PER_BIT * tech.leakage_factor
    leakage_nw += logic.decode.leakage_nw(tech)
    energy["leak"] = leakage_pj_per_cycle(leakage_nw, cycle_seconds) / level.cluster_size
    kib = shape.bits / banks / _KIB
    reach = "within the anchors" if 8 <= kib <= 1024 else "extrapolated beyond 8 KB to 1 MB"
    notes = "; ".join(note for note in (logic.note, tech.note) if note)
    sources = "Horowitz ISSCC'14 (45 nm), Jouppi ISCA'21 (7 nm)"
    return Estimate(
        energy,
        (area + logic.decode.area_um2(tech)) / level.cluster_size,
        f"SRAM of {banks} x {kib:.4g} KB, {shape.width}-bit rows: {sources}, {reach}; {notes}",
    )
