"""Built-in energy and area of components, from published anchors.

`estimate` answers for any component of an architecture that brings no table of its own; the other functions price
networks and reduction adders. Every constant stands beside its source in the file that holds it, docs/components.md
lists them all. Use it for comparisons: absolute figures are good to a factor of about 2.
"""

from __future__ import annotations

import math

from fiberloom.architecture.components._base import ATTRIBUTES, GATED_SHARE, Estimate, check_attributes
from fiberloom.architecture.components.bit_serial import bit_serial_area, bit_serial_energy
from fiberloom.architecture.components.dram import DRAM_PJ_PER_BIT, estimate_dram
from fiberloom.architecture.components.mac import adder_area, adder_energy, estimate_mac, multiplier_energy
from fiberloom.architecture.components.network import (
    hop_length_mm,
    network_energy,
    router_energy_pj_per_bit,
    wire_energy_pj_per_bit_mm,
)
from fiberloom.architecture.components.regfile import estimate_regfile
from fiberloom.architecture.components.sram import estimate_sram
from fiberloom.architecture.components.technology import NODES_NM, Technology
from fiberloom.architecture.components.technology import technology as find_technology
from fiberloom.architecture.levels import Component, ComponentClass, StorageLevel
from fiberloom.errors import Location, SpecError
from fiberloom.representation.formats import NumberFormat, number_format

__all__ = [
    "ATTRIBUTES",
    "COMPUTE_ACTIONS",
    "DRAM_PJ_PER_BIT",
    "GATED_SHARE",
    "NODES_NM",
    "STORAGE_ACTIONS",
    "Estimate",
    "NumberFormat",
    "Technology",
    "adder_area",
    "adder_energy",
    "bit_serial_area",
    "bit_serial_energy",
    "estimate",
    "find_technology",
    "hop_length_mm",
    "multiplier_energy",
    "network_energy",
    "number_format",
    "router_energy_pj_per_bit",
    "wire_energy_pj_per_bit_mm",
]

COMPUTE_ACTIONS = ("compute", "gated_compute", "skipped_compute", "leak")
"""Actions that an estimate of compute prices."""

STORAGE_ACTIONS = (
    *(
        f"{fate}{kind}{action}"
        for kind in ("", "metadata_")
        for action in ("read", "write", "update")
        for fate in ("", "gated_", "skipped_")
    ),
    "decompression_count",
    "compression_count",
    "leak",
)
"""Actions that an estimate of a storage level prices."""


def estimate(component: Component, *, technology: str, cycle_seconds: float) -> Estimate:
    """Energy per action and area of one instance of a storage level or compute.

    Storage energies are per vector access, ``decompression_count`` and ``compression_count`` per word, compute energies
    per operation, ``leak`` per cycle. Gated actions cost the clock, skipped ones nothing. A dummy costs nothing at all.

    Args:
        component: a `StorageLevel` or `Compute`; its own ``energy_pj`` and ``area_um2`` are not looked at.
        technology: a node of `NODES_NM`, as in ``45nm``.
        cycle_seconds: clock period, for leakage.

    Raises:
        SpecError: for an unknown technology, number format, DRAM type or mistyped attribute, for on-chip storage
            without a depth, for a clock period that is not positive, and for a class that does not suit the component.
    """
    tech = find_technology(technology, where=Location(field="technology"))
    if not (math.isfinite(cycle_seconds) and cycle_seconds > 0):
        raise SpecError(
            f"cycle_seconds is {cycle_seconds}", where=Location(field="cycle_seconds"), hint="a clock period in seconds"
        )
    check_attributes(component)
    kind = component.component
    if isinstance(component, StorageLevel):
        match kind:
            case ComponentClass.SRAM:
                return estimate_sram(component, tech, cycle_seconds)
            case ComponentClass.REGFILE:
                return estimate_regfile(component, tech, cycle_seconds)
            case ComponentClass.DRAM:
                return estimate_dram(component, tech)
            case ComponentClass.DUMMY:
                return Estimate(dict.fromkeys(STORAGE_ACTIONS, 0.0), 0.0, "dummy: costs nothing")
            case ComponentClass.MAC:
                suitable = "dram, sram, regfile or dummy"
    else:
        match kind:
            case ComponentClass.MAC:
                return estimate_mac(component, tech, cycle_seconds)
            case ComponentClass.DUMMY:
                return Estimate(dict.fromkeys(COMPUTE_ACTIONS, 0.0), 0.0, "dummy: costs nothing")
            case _:
                suitable = "mac or dummy"
    role = "storage" if isinstance(component, StorageLevel) else "compute"
    raise SpecError(
        f"'{component.name}' is {role} of class '{kind.value}'",
        where=Location(field=f"{component.name}.component"),
        hint=f"{role} is {suitable}",
    )
