"""Moving words on chip: wires, router hops, and the adders of spatial reduction."""

from __future__ import annotations

import math

from fiberloom.architecture.components.regfile import regfile_energy_per_bit
from fiberloom.architecture.components.technology import Technology
from fiberloom.architecture.components.technology import technology as find_technology
from fiberloom.errors import SpecError

# source: Keckler et al., GPUs and the future of parallel computing, IEEE Micro 31(5), 2011, table 1: 240 fJ/bit/mm per
# transition at 40 nm and 0.9 V, 150 at 10 nm and 0.75 V; halved here, since half of random bits toggle (their own
# 256-bit, 10 mm transfers of 310 and 200 pJ say the same). trust: good, recalled; the 10 nm figure was a projection.
# Low-swing circuits do better: 0.040 pJ/bit/mm at 45 nm (Park et al., DATE 2013).
_WIRE_40NM, _WIRE_10NM = 0.121, 0.078
_WIRE_NODES = (40, 10)
# source: intermediate metal pitch of 45 nm processes, about 0.14 um, every second track used (shielding, vias); it
# shrinks with the square root of logic area. trust: order of magnitude.
_CROSSBAR_PITCH_45NM_MM = 0.28e-3
_INPUT_BUFFER_FLITS = 4  # assumption: the shallowest buffer that covers a credit round trip


def wire_energy_pj_per_bit_mm(technology: str) -> float:
    """pJ to move one bit of random data over 1 mm of repeated full-swing wire.

    Raises:
        SpecError: for an unknown technology.
    """
    return wire_energy_at(find_technology(technology))


def wire_energy_at(tech: Technology) -> float:
    """`wire_energy_pj_per_bit_mm` for a node already looked up."""
    # 10 nm is no node of ours: its progress follows from its neighbours' on the log scale of the node's name.
    older, newer = find_technology("12"), find_technology("7")
    share = math.log(older.nm / _WIRE_NODES[1]) / math.log(older.nm / newer.nm)
    progress_10nm = older.progress + share * (newer.progress - older.progress)
    progress_40nm = find_technology(str(_WIRE_NODES[0])).progress
    slope = math.log(_WIRE_10NM / _WIRE_40NM) / (progress_10nm - progress_40nm)
    return _WIRE_40NM * math.exp(slope * (tech.progress - progress_40nm)) * tech.voltage_squared


def router_energy_pj_per_bit(technology: str, *, flit_bits: int = 64, ports: int = 5, buffered: bool = True) -> float:
    """pJ to take one bit through one router: input buffer (write and read) and crossbar; the link is extra.

    Built from the register file and wire models, no measured router behind it: arbitration, pipeline registers and
    clocking are left out, so that measured routers lie above (trust: a lower bound).

    Raises:
        SpecError: for an unknown technology, or fewer than one port or bit.
    """
    tech = find_technology(technology)
    if flit_bits < 1 or ports < 1:
        raise SpecError(f"a router of {ports} ports and {flit_bits}-bit flits", hint="both are whole numbers from 1")
    side_mm = ports * flit_bits * _CROSSBAR_PITCH_45NM_MM * math.sqrt(tech.logic_area_factor)
    crossbar = 2 * side_mm * wire_energy_at(tech)  # one input row and one output column are driven
    buffer = 2 * regfile_energy_per_bit(flit_bits * _INPUT_BUFFER_FLITS, tech) if buffered else 0.0
    return crossbar + buffer


def network_energy(
    bits: float,
    distance_mm: float,
    *,
    technology: str,
    router_hops: float = 0,
    flit_bits: int = 64,
    ports: int = 5,
    buffered: bool = True,
) -> float:
    """pJ to move `bits` over `distance_mm` of wire and through `router_hops` routers.

    A multicast that shares wires is charged once with the length of its tree.

    Raises:
        SpecError: for an unknown technology or a negative amount.
    """
    for name, value in (("bits", bits), ("distance_mm", distance_mm), ("router_hops", router_hops)):
        if not (math.isfinite(value) and value >= 0):
            raise SpecError(f"network_energy: {name} is {value}", hint="amounts are finite and not negative")
    per_bit = distance_mm * wire_energy_pj_per_bit_mm(technology)
    if router_hops:
        hop = router_energy_pj_per_bit(technology, flit_bits=flit_bits, ports=ports, buffered=buffered)
        per_bit += router_hops * hop
    return bits * per_bit


def hop_length_mm(area_um2: float) -> float:
    """Distance between neighbours that each fill a square of this area.

    Raises:
        SpecError: for an area that is negative or not finite.
    """
    if not (math.isfinite(area_um2) and area_um2 >= 0):
        raise SpecError(f"hop_length_mm: area is {area_um2} um2", hint="areas are finite and not negative")
    return math.sqrt(area_um2) * 1e-3
