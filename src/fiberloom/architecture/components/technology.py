"""Technology nodes: how energy, area and leakage change from the nodes where published anchors exist.

Energies are anchored at **two** nodes: 45 nm [Horowitz2014] and 7 nm [Jouppi2021]. A node in between lies a share
`progress` of the way, on a logarithmic scale; the share comes from the switching-energy equations of
[StillmakerBaas2017], all taken at 0.9 V. Those equations alone, from 45 nm to 7 nm, promise 8 times less energy (18
times with the supply lowered as well), where the published 7 nm figures are 2 to 4 times below those of 45 nm; so they
say how far along a node lies, not how much is gained.

[Horowitz2014]: M. Horowitz, Computing's energy problem (and what we can do about it), ISSCC 2014, figure 1.1.9.
[Jouppi2021]: N. Jouppi et al., Ten lessons from three generations shaped Google's TPUv4i, ISCA 2021, table 2.
[StillmakerBaas2017]: A. Stillmaker, B. Baas, Scaling equations for the accurate prediction of CMOS device performance
    from 180 nm to 7 nm, Integration 58 (2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fiberloom.errors import Location, SpecError, nearest

# source: StillmakerBaas2017, energy factor a·V² + b·V + c, high-performance devices.
# trust: good for the figures (two independent public transcriptions agree digit by digit); the paper was not at hand.
_ENERGY_POLYNOMIAL: dict[int, tuple[float, float, float]] = {
    65: (3.755, -4.398, 1.975),
    45: (1.018, -0.3107, 0.1539),
    32: (0.8367, -0.4341, 0.1701),
    20: (0.373, -0.1582, 0.04104),
    16: (0.2958, -0.1241, 0.03024),
    14: (0.2363, -0.09675, 0.02239),
    10: (0.2068, -0.09311, 0.02375),
    7: (0.1776, -0.09097, 0.02447),
}
# source: StillmakerBaas2017, area factors relative to 45 nm. trust: as above.
_LOGIC_AREA: dict[int, float] = {65: 1.5, 45: 1.0, 32: 0.46, 20: 0.21, 16: 0.19, 14: 0.17, 10: 0.1, 7: 0.059}
# source: published 6T bit cells in um2: TSMC 65, 40, 28, 16, 7, 5 nm; Intel 45, 32, 22, 14 nm (papers at
# IEDM, VLSI, ISSCC). trust: recalled, widely quoted; +-15 %, since foundries offer several cells per node.
_BITCELL_UM2: dict[int, float] = {
    65: 0.525,
    45: 0.346,
    40: 0.242,
    32: 0.171,
    28: 0.127,
    22: 0.092,
    16: 0.074,
    14: 0.0588,
    7: 0.027,
    5: 0.021,
}
# source: 45 nm anchors are quoted at 0.9 V [Horowitz2014]; 65 nm accelerators run at 1.0 V (Eyeriss, ISSCC 2016).
_ANCHOR_VOLTS, _VOLTS_65NM = 0.9, 1.0
# source: TSMC's announcement of N5 against N7: 30 % less power at the same speed, 1.84 times the logic density.
# trust: a vendor's claim, recalled; no published table of operation energies at 5 nm is used.
_N5_ENERGY, _N5_AREA = 0.7, 1 / 1.84

NODES_NM = (65, 45, 40, 32, 28, 22, 16, 14, 12, 7, 5)
"""Nodes known by name, oldest first."""


@dataclass(frozen=True)
class Technology:
    """One node.

    Attributes:
        name: as in ``45nm``.
        nm: the node's name as a number.
        progress: where the node lies between the anchors at 45 nm (0) and 7 nm (1), on a logarithmic energy scale.
        beyond_anchors: energy factor outside that interval (65 nm, 5 nm); 1 inside.
        logic_area_factor: area of a standard-cell block relative to 45 nm.
        bitcell_um2: area of a dense 6T SRAM cell.
        leakage_factor: leakage power of a circuit relative to the same circuit at 45 nm.
        voltage_squared: supply voltage squared relative to the anchors', for wires of unchanged capacitance.
        note: how the figures came about, for provenance.
    """

    name: str
    nm: int
    progress: float
    beyond_anchors: float
    logic_area_factor: float
    bitcell_um2: float
    leakage_factor: float
    voltage_squared: float
    note: str

    def energy(self, at_45nm: float, at_7nm: float) -> float:
        """Energy here of an action that costs `at_45nm` and `at_7nm`; the newer is never taken above the older."""
        if at_45nm <= 0:
            return 0.0
        newer = min(at_7nm, at_45nm)
        return math.exp((1 - self.progress) * math.log(at_45nm) + self.progress * math.log(newer)) * self.beyond_anchors


def technology(name: str, *, where: Location | None = None) -> Technology:
    """The node called `name`: ``45nm``, ``45 nm`` or ``45``.

    Raises:
        SpecError: for a node that is not known.
    """
    key = str(name).strip().lower().replace(" ", "").removesuffix("nm")
    if key in _BY_KEY:
        return _BY_KEY[key]
    known = [f"{nm}nm" for nm in NODES_NM]
    hint = nearest(str(name), known)
    try:
        wanted = float(key)
    except ValueError:
        pass
    else:
        if math.isfinite(wanted) and wanted > 0:
            close = min(NODES_NM, key=lambda nm: abs(math.log(nm / wanted)))
            hint = f"the nearest one is '{close}nm'; known: {', '.join(known)}"
    raise SpecError(f"unknown technology '{name}'", where=where, hint=hint)


def _interpolate(table: dict[int, float], nm: int) -> float:
    """Log–log interpolation between the neighbouring nodes of a positive table."""
    if nm in table:
        return table[nm]
    older = min(n for n in table if n > nm)
    newer = max(n for n in table if n < nm)
    share = math.log(older / nm) / math.log(older / newer)
    return float(table[older] ** (1 - share) * table[newer] ** share)


def _switching_energy(nm: int, volts: float) -> float:
    a, b, c = _ENERGY_POLYNOMIAL[nm]
    return a * volts**2 + b * volts + c


def _make(nm: int) -> Technology:
    base = _switching_energy(45, _ANCHOR_VOLTS)
    switching = {n: _switching_energy(n, _ANCHOR_VOLTS) / base for n in _ENERGY_POLYNOMIAL if n <= 45}
    progress, beyond, volts_squared = 0.0, 1.0, 1.0
    if nm == 65:
        beyond = _switching_energy(65, _VOLTS_65NM) / base
        volts_squared = (_VOLTS_65NM / _ANCHOR_VOLTS) ** 2
        note = f"65 nm at 1.0 V is {beyond:.2f} x 45 nm (Stillmaker & Baas 2017)"
    elif nm == 5:
        progress, beyond = 1.0, _N5_ENERGY
        note = "5 nm extrapolated from 7 nm (TSMC: -30 % power)"
    else:
        progress = max(0.0, math.log(_interpolate(switching, nm)) / math.log(switching[7]))
        between = f"{nm} nm between the 45 and 7 nm anchors (Stillmaker & Baas 2017)"
        note = f"{nm} nm anchor" if nm in (45, 7) else between
    area = _LOGIC_AREA[7] * _N5_AREA if nm == 5 else _interpolate(_LOGIC_AREA, nm)
    # ITRS holds leakage per micrometre of gate width constant within a device class, so that a circuit's leakage falls
    # with its feature size. source: ITRS 2009-2013, PIDS tables. trust: order of magnitude; fin devices differ.
    return Technology(
        name=f"{nm}nm",
        nm=nm,
        progress=progress,
        beyond_anchors=beyond,
        logic_area_factor=area,
        bitcell_um2=_interpolate(_BITCELL_UM2, nm),
        leakage_factor=nm / 45,
        voltage_squared=volts_squared,
        note=note,
    )


_BY_KEY = {str(nm): _make(nm) for nm in NODES_NM}
