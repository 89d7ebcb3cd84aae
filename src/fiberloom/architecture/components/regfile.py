"""Register files: flip-flops or latches behind a read multiplexer."""

from __future__ import annotations

import math

from fiberloom.architecture.components._base import (
    LOGIC_LEAKAGE_NW_PER_UM2,
    Estimate,
    count_attribute,
    flag_attribute,
    leakage_pj_per_cycle,
)
from fiberloom.architecture.components.storage import StorageShape, storage_actions
from fiberloom.architecture.components.technology import Technology
from fiberloom.architecture.levels import StorageLevel

# source: 9 fJ to clock one flip-flop bit in 40 nm general-purpose CMOS (functional-unit tables of Aladdin, ISCA 2014).
# trust: good for one register; seen in a public copy of the table.
_FLOP_PJ_PER_BIT = 0.009
# source: Chen et al., Eyeriss, ISCA 2016: in 65 nm a 16-bit access to a 0.5 KB register file costs as much as a 16-bit
# MAC. Ours costs 0.9 pJ at 45 nm, 0.056 pJ/bit; less the flip-flop, over sqrt(4096 bits). trust: +-50 %.
_MULTIPLEXER_PJ_PER_BIT_PER_SQRT_BITS = 0.00074
# source: the SRAM and arithmetic anchors fall 2.8-fold on average from 45 nm [Horowitz, ISSCC 2014] to 7 nm
# [Jouppi et al., ISCA 2021]; register files are taken to follow. trust: assumption.
_AT_7NM = 1 / 2.8
# source: NanGate 45 nm open cell library: DFF_X1 4.5 um2, plus about two NAND2_X1 (0.8 um2) a bit of read multiplexer.
# trust: good for the cells; wiring comes on top of large files.
_FLOP_UM2, _MULTIPLEXER_UM2 = 4.5, 1.6
# A latch is one half of a master-slave flip-flop. trust: rule of thumb (0.5 to 0.7).
_LATCH_SHARE = 0.6


def regfile_energy_per_bit(bits: float, tech: Technology, *, latch: bool = False) -> float:
    """pJ to read or write one bit of a file that holds `bits` bits."""
    cell = _FLOP_PJ_PER_BIT * (_LATCH_SHARE if latch else 1.0)
    at_45nm = cell + _MULTIPLEXER_PJ_PER_BIT_PER_SQRT_BITS * math.sqrt(max(bits, 1.0))
    return tech.energy(at_45nm, at_45nm * _AT_7NM)


def estimate_regfile(level: StorageLevel, tech: Technology, cycle_seconds: float) -> Estimate:
    """A register file; each extra port adds a multiplexer and lengthens the wires.

    Attributes read: ``banks``, ``ports``, ``latch``.

    Raises:
        SpecError: for a file without depth.
    """
    banks, ports = count_attribute(level, "banks"), count_attribute(level, "ports")
    latch = flag_attribute(level, "latch")
    shape = StorageShape.of(level)
    cell_um2 = _FLOP_UM2 * (_LATCH_SHARE if latch else 1.0) + ports * _MULTIPLEXER_UM2
    growth = math.sqrt(cell_um2 / (cell_um2 - (ports - 1) * _MULTIPLEXER_UM2))

    def access(width: int, bits: int) -> float:
        return width * growth * regfile_energy_per_bit(max(bits / banks, width), tech, latch=latch)

    data = access(shape.width, shape.bits)
    metadata = access(shape.metadata_width, shape.metadata_bits) if shape.metadata_width else 0.0
    energy, logic = storage_actions(level, tech, shape, data_pj=data, metadata_pj=metadata)
    cells_45nm = (shape.bits + shape.metadata_bits) * cell_um2
    leakage_nw = cells_45nm * LOGIC_LEAKAGE_NW_PER_UM2 * tech.leakage_factor + logic.decode.leakage_nw(tech)
    energy["leak"] = leakage_pj_per_cycle(leakage_nw, cycle_seconds) / level.cluster_size
    area = (cells_45nm * tech.logic_area_factor + logic.decode.area_um2(tech)) / level.cluster_size
    kind = "latches" if latch else "flip-flops"
    sources = "Aladdin ISCA'14, Eyeriss ISCA'16, NanGate 45, +-50 %"
    notes = "; ".join(note for note in (logic.note, tech.note) if note)
    return Estimate(energy, area, f"register file of {shape.bits} bits in {kind}: {sources}; {notes}")
